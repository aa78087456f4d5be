"""The native engine behind the `Encoder` contract: BERT-type encoders in the kernels of `disco_native`, no padding.

Needs the package disco-native, imported when the first graph is opened. Knows no bundle.
"""

import threading
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any
from weakref import WeakValueDictionary

from bundle.arrays import Ids, Offsets, Vectors
from bundle.bert_graph import find_weights
from bundle.errors import (
    InvalidTokensError,
    TextTooLongError,
    UnsupportedGraphError,
)
from bundle.manifest import Pooling
from bundle.native_package import choose_isa, load_native
from bundle.onnx_file import read_onnx

# Models that some encoder of this process holds: those to come share their weights.
_models: WeakValueDictionary[tuple[object, ...], Any] = WeakValueDictionary()
_opening = threading.Lock()


class NativeEncoder:
    """Runs one graph, fp32 (in bf16) or int8, without ONNX Runtime."""

    def __init__(
        self,
        graph: Path,
        *,
        dimension: int,
        pooling: Pooling,
        normalized: bool,
        threads: int = 1,
        isa: str | None = None,
    ) -> None:
        """Load `graph`; `isa` as `DISCO_NATIVE_ISA`.

        Raises:
            UnsupportedModelError: the graph is no BERT-type encoder of this dimension.
            UnsupportedGraphError: the file is damaged, the CPU lacks `isa`, or has nothing but the slow reference.
            MissingRuntimeError: disco-native is not installed, or not for this Python.
        """
        native = load_native()
        chosen = choose_isa(native, isa)
        try:
            model = _open_model(native, graph, dimension, pooling, normalized=normalized)
            self._encoder = native.Encoder(model, chosen.name, threads)
        except ValueError as error:
            raise UnsupportedGraphError(f"{graph}: {error}") from error
        self._dimension = dimension
        self._description = f"native {model.precision} {chosen.name}"
        if chosen.wrong:
            self._description += (
                f", since {' and '.join(chosen.wrong)} multiplies wrongly on this CPU: please report it"
            )
        self._length_error: type[ValueError] = native.LengthError
        self.encodes_tokens = True

    @property
    def dimension(self) -> int:
        """See `Encoder`."""
        return self._dimension

    @property
    def description(self) -> str:
        """See `Encoder`."""
        return self._description

    @staticmethod
    def cost(lengths: Sequence[int]) -> int:
        """See `Encoder`: nothing is padded."""
        return sum(lengths)

    def encode(self, ids: Ids, offsets: Offsets) -> Vectors:
        """See `Encoder`.

        Raises:
            InvalidTokensError: an id is outside of the vocabulary.
            TextTooLongError: a text has more tokens than the model has positions.
        """
        return self._encode(ids, offsets, pooled=True)

    def encode_tokens(self, ids: Ids, offsets: Offsets) -> Vectors:
        """See `TokenEncoder`."""
        return self._encode(ids, offsets, pooled=False)

    def _encode(self, ids: Ids, offsets: Offsets, *, pooled: bool) -> Vectors:
        try:
            vectors: Vectors = self._encoder.encode(ids, offsets, pooled=pooled)
        except IndexError as error:
            raise InvalidTokensError(str(error)) from error
        except self._length_error as error:
            raise TextTooLongError(str(error)) from error
        return vectors


def _open_model(native: ModuleType, graph: Path, dimension: int, pooling: Pooling, *, normalized: bool) -> Any:
    status = graph.stat()
    key = (graph.resolve(), status.st_ino, status.st_mtime_ns, status.st_size, dimension, pooling, normalized)
    with _opening:
        model = _models.get(key)
        if model is None:
            weights = find_weights(read_onnx(graph), dimension=dimension, pooling=pooling, normalized=normalized)
            model = native.Model(weights)
            _models[key] = model
    return model
