"""Ids → vectors: the `Encoder` contract between whoever schedules texts and whoever does the maths.

The batch is ragged and flat; padding is the engine's private matter, so that an engine without padding can take
the place of ONNX Runtime and nothing else changes. Knows neither text nor HTTP.
"""

from collections.abc import Sequence
from typing import Protocol

from bundle.arrays import Ids, Offsets, Vectors
from bundle.choice import choose
from bundle.layout import Bundle
from bundle.manifest import Precision, Runtime


class Encoder(Protocol):
    """An engine that embeds token ids. One encoder belongs to one thread at a time."""

    @property
    def dimension(self) -> int:
        """The number of components of a vector."""
        ...

    @property
    def description(self) -> str:
        """The engine in a few words, for logs and `/info`, e.g. `onnxruntime int8`."""
        ...

    def encode(self, ids: Ids, offsets: Offsets) -> Vectors:
        """Embed n ≥ 1 texts, text i being `ids[offsets[i]:offsets[i + 1]]`; returns float32[n, dim] in that order."""
        ...

    def cost(self, lengths: Sequence[int]) -> int:
        """What a batch of texts of these lengths would cost, in tokens that the engine really computes."""
        ...


class TokenEncoder(Encoder, Protocol):
    """An engine that also tells what there is before pooling, where its graph gives it."""

    @property
    def encodes_tokens(self) -> bool:
        """Whether `encode_tokens` can be called."""
        ...

    def encode_tokens(self, ids: Ids, offsets: Offsets) -> Vectors:
        """Embed the same batch without pooling; returns float32[total, dim], a vector for each of `ids`."""
        ...


def open_encoder(
    bundle: Bundle, *, precision: Precision | None = None, runtime: Runtime | None = None, threads: int = 1
) -> TokenEncoder:
    """Load what `bundle.choice.choose` picks, with `threads` compute threads.

    Raises:
        UnsupportedGraphError: no graph fits, or the one that does cannot be loaded by `runtime`.
        MissingRuntimeError: `runtime` is not installed.
    """
    choice = choose(bundle, precision=precision, runtime=runtime)
    graph, dimension = bundle.path / choice.graph.path, bundle.manifest.dimension
    # Imported here: a server whose engines are processes of their own needs none of these libraries itself.
    if choice.runtime == "native":
        from bundle.native_encoder import NativeEncoder

        pooling, normalized = bundle.manifest.pooling, bundle.manifest.normalized
        return NativeEncoder(graph, dimension=dimension, pooling=pooling, normalized=normalized, threads=threads)
    if choice.runtime == "openvino":
        from bundle.openvino_encoder import OpenVinoEncoder

        return OpenVinoEncoder(graph, dimension=dimension, threads=threads)
    from bundle.onnx_encoder import OnnxEncoder

    made_for = "" if choice.graph.target == "any" else f" for {choice.graph.target}"
    return OnnxEncoder(graph, dimension=dimension, label=f"{choice.graph.precision}{made_for}", threads=threads)
