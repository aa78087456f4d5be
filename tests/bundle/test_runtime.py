from dataclasses import replace

import msgspec
import pytest

from bundle.cpu import Cpu, Target
from bundle.errors import UnsupportedGraphError
from bundle.layout import Bundle
from bundle.manifest import Graph, Precision
from bundle.runtime import choose_graph, open_encoder
from tests.conftest import TINY_DIMENSION


def with_graphs(bundle: Bundle, *graphs: tuple[Precision, Target]) -> Bundle:
    """The bundle as if it had these graphs, all in one file."""
    path = bundle.manifest.graphs[0].path
    made = tuple(Graph(path=path, precision=precision, target=target) for precision, target in graphs)
    return replace(bundle, manifest=msgspec.structs.replace(bundle.manifest, graphs=made))


def test_the_bundle_opens_its_encoder(tiny_bundle: Bundle) -> None:
    encoder = open_encoder(tiny_bundle, precision="fp32")
    assert encoder.dimension == TINY_DIMENSION
    assert encoder.description.startswith("onnxruntime ")
    assert "fp32" in encoder.description


def test_a_precision_that_is_not_there_is_refused_beside_what_is(tiny_bundle: Bundle) -> None:
    with pytest.raises(UnsupportedGraphError, match="has no int8 graph, only fp32"):
        open_encoder(tiny_bundle, precision="int8")


@pytest.mark.parametrize(
    ("cpu", "chosen"),
    [("avx512_vnni", ("int8", "avx512_vnni")), ("arm64", ("int8", "avx512_vnni")), ("avx2", ("int8", "avx2"))],
)
def test_the_first_graph_that_is_right_on_the_cpu_is_chosen(
    tiny_bundle: Bundle, cpu: Cpu, chosen: tuple[Precision, Target]
) -> None:
    bundle = with_graphs(tiny_bundle, ("int8", "avx512_vnni"), ("int8", "avx2"), ("fp32", "any"))
    graph = choose_graph(bundle, cpu=cpu)
    assert (graph.precision, graph.target) == chosen
    assert choose_graph(bundle, precision="fp32", cpu=cpu).target == "any"


def test_a_bundle_whose_graphs_are_wrong_here_is_refused(tiny_bundle: Bundle) -> None:
    bundle = with_graphs(tiny_bundle, ("int8", "avx512_vnni"), ("int8", "arm64"))
    with pytest.raises(UnsupportedGraphError, match=r"graphs for avx512_vnni, arm64.*--target avx2"):
        choose_graph(bundle, cpu="avx2")


def test_an_encoder_says_what_its_graph_was_made_for(tiny_bundle: Bundle) -> None:
    assert "int8 for avx2" in open_encoder(with_graphs(tiny_bundle, ("int8", "avx2"))).description
