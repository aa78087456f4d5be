"""ONNX Runtime with its own default settings behind the `Encoder` contract. For comparison only."""

from collections.abc import Sequence
from pathlib import Path

import onnxruntime as ort

from bundle.arrays import Ids, Offsets, Vectors
from bundle.onnx_encoder import OUTPUT
from bundle.padding import pad, padded_size


class PlainSession:
    """A graph as anybody would run it: default session options but for one thread."""

    def __init__(self, graph: Path, *, dimension: int, label: str) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._dimension = dimension
        self._description = f"onnxruntime {ort.__version__} {label}"

    @property
    def dimension(self) -> int:
        """See `Encoder`."""
        return self._dimension

    @property
    def description(self) -> str:
        """See `Encoder`."""
        return self._description

    def cost(self, lengths: Sequence[int]) -> int:
        """Every text is padded to the longest one."""
        return padded_size(lengths)

    def encode(self, ids: Ids, offsets: Offsets) -> Vectors:
        """See `Encoder`."""
        input_ids, attention_mask = pad(ids, offsets)
        vectors: Vectors = self._session.run([OUTPUT], {"input_ids": input_ids, "attention_mask": attention_mask})[0]
        return vectors
