from dataclasses import replace

import msgspec

from bundle.layout import Bundle
from bundle.runtime import open_encoder
from tests.conftest import TINY_DIMENSION


def test_the_bundle_opens_its_encoder(tiny_bundle: Bundle) -> None:
    encoder = open_encoder(tiny_bundle, precision="fp32")
    assert encoder.dimension == TINY_DIMENSION
    assert encoder.description.startswith("onnxruntime ")
    assert "fp32" in encoder.description


def test_openvino_opens_it_where_it_is_asked_for(tiny_bundle: Bundle) -> None:
    encoder = open_encoder(tiny_bundle, runtime="openvino")
    assert encoder.dimension == TINY_DIMENSION
    assert encoder.description.startswith("openvino ")


def test_an_encoder_says_what_its_graph_was_made_for(tiny_bundle: Bundle) -> None:
    (graph,) = tiny_bundle.manifest.graphs
    made_for_avx2 = msgspec.structs.replace(graph, precision="int8", target="avx2")
    bundle = replace(tiny_bundle, manifest=msgspec.structs.replace(tiny_bundle.manifest, graphs=(made_for_avx2,)))
    assert "int8 for avx2" in open_encoder(bundle).description
