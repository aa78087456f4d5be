"""Ids → vectors: the `Encoder` contract between whoever schedules texts and whoever does the maths.

The batch is ragged and flat; padding is the engine's private matter, so that an engine without padding can take
the place of ONNX Runtime and nothing else changes. Knows neither text nor HTTP.
"""

from collections.abc import Sequence
from typing import Protocol

from bundle.arrays import Ids, Offsets, Vectors
from bundle.cpu import Cpu, detect_cpu, suits
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


def choose_graph(bundle: Bundle, *, precision: Precision | None = None, cpu: Cpu | None = None) -> Graph:
    """The first graph of `bundle` (or the first of `precision`) that is right on `cpu`, by default this machine.

    Raises:
        UnsupportedGraphError: there is none.
    """
    cpu = cpu or detect_cpu()
    graphs = bundle.manifest.graphs
    wanted = [graph for graph in graphs if precision in (None, graph.precision)]
    if not wanted:
        found = ", ".join(graph.precision for graph in graphs)
        raise UnsupportedGraphError(f"{bundle.path} has no {precision} graph, only {found}")
    for graph in wanted:
        if suits(graph.target, cpu):
            return graph
    found = ", ".join(graph.target for graph in wanted)
    raise UnsupportedGraphError(
        f"{bundle.path} has graphs for {found}, which would be wrong on this CPU; export again with --target {cpu}"
    )


def open_encoder(bundle: Bundle, *, precision: Precision | None = None, threads: int = 1) -> Encoder:
    """Load the graph that `choose_graph` picks, with `threads` compute threads.

    Raises:
        UnsupportedGraphError: no graph fits, or the one that does cannot be loaded.
    """
    graph = choose_graph(bundle, precision=precision)
    made_for = "" if graph.target == "any" else f" for {graph.target}"
    return OnnxEncoder(
        bundle.path / graph.path,
        dimension=bundle.manifest.dimension,
        label=f"{graph.precision}{made_for}",
        threads=threads,
    )
