"""Ids → vectors: the `Encoder` contract between whoever schedules texts and whoever does the maths.

The batch is ragged and flat; padding is the engine's private matter, so that an engine without padding can take
the place of ONNX Runtime and nothing else changes. Knows neither text nor HTTP.
"""

from collections.abc import Sequence
from typing import Protocol

from bundle.arrays import Ids, Offsets, Vectors
from bundle.errors import UnsupportedGraphError
from bundle.layout import Bundle
from bundle.manifest import Graph, Precision
from bundle.onnx_encoder import OnnxEncoder


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


def open_encoder(bundle: Bundle, *, precision: Precision | None = None, threads: int = 1) -> Encoder:
    """Load the preferred graph of `bundle` (or the one of `precision`) with `threads` compute threads.

    Raises:
        UnsupportedGraphError: no graph of that precision, or the graph cannot be loaded.
    """
    graph = _choose(bundle, precision)
    manifest = bundle.manifest
    return OnnxEncoder(bundle.path / graph.path, dimension=manifest.dimension, label=graph.precision, threads=threads)


def _choose(bundle: Bundle, precision: Precision | None) -> Graph:
    graphs = bundle.manifest.graphs
    for graph in graphs:
        if precision in (None, graph.precision):
            return graph
    raise UnsupportedGraphError(
        f"{bundle.path} has no {precision} graph, only {', '.join(graph.precision for graph in graphs)}"
    )
