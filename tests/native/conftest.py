"""Small encoders of odd shapes with random weights, as the exporter writes them."""

import pytest

from tests.bert import Graphs, Shape, build_graphs

SHAPES = {
    "48 by 3 heads": Shape(48, 3, 1, 100, pooling="cls"),
    "TinyBERT's": Shape(312, 12, 2, 600, activation="gelu_new"),
    "MiniLM's": Shape(384, 12, 3, 768),
    "one head of 80": Shape(80, 1, 2, 64),
}


@pytest.fixture(scope="session", params=SHAPES.values(), ids=list(SHAPES))
def graphs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Graphs:
    """A model of each shape."""
    return build_graphs(tmp_path_factory.mktemp("native"), request.param)


@pytest.fixture(scope="session")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Graphs:
    """A model of one shape, for what does not depend on it."""
    return build_graphs(tmp_path_factory.mktemp("native"), SHAPES["MiniLM's"])


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Graphs:
    """A model for instruction sets that are slow, and slower by far in the sanitized build."""
    return build_graphs(tmp_path_factory.mktemp("native"), SHAPES["one head of 80"])
