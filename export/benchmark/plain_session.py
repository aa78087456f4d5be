"""ONNX Runtime with its own default settings behind the `Encoder` contract. For comparison only."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from bundle.arrays import Vectors
from bundle.onnx_encoder import OUTPUT
from bundle.padding import PaddingEncoder


class PlainSession(PaddingEncoder):
    """A graph as anybody would run it: default session options but for one thread."""

    def __init__(self, graph: Path, *, dimension: int, label: str) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        super().__init__(dimension=dimension, description=f"onnxruntime {ort.__version__} {label}")

    def _embed(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> Vectors:
        vectors: Vectors = self._session.run([OUTPUT], {"input_ids": input_ids, "attention_mask": attention_mask})[0]
        return vectors
