"""Weights found in graphs are those that torch has, and other models are refused with a reason."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from bundle.bert_graph import find_weights
from bundle.errors import UnsupportedModelError
from bundle.layout import Bundle
from bundle.native_weights import Weights
from bundle.onnx_file import read_onnx
from tests.bert import Graphs, Shape, build_graphs, write_int8

SHAPE = Shape(hidden=48, heads=3, layers=2, feed_forward=96)


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Graphs:
    return build_graphs(tmp_path_factory.mktemp("bert"), SHAPE)


def weights_of(path: Path) -> Weights:
    return find_weights(read_onnx(path), pooling="mean", normalized=True)


def test_fp32_weights_are_those_of_torch(graphs: Graphs) -> None:
    from transformers import BertModel

    found = weights_of(graphs.fp32)
    model = BertModel.from_pretrained(graphs.fp32.parent / "hf")
    torch = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    assert (found.heads, len(found.layers), found.tanh_gelu, found.pools_first, found.normalizes) == (
        3, 2, False, False, True,
    )  # fmt: skip
    np.testing.assert_array_equal(found.words, torch["embeddings.word_embeddings.weight"])
    positions = torch["embeddings.position_embeddings.weight"] + torch["embeddings.token_type_embeddings.weight"][0]
    np.testing.assert_allclose(found.positions, positions)
    for i, layer in enumerate(found.layers):
        prefix = f"encoder.layer.{i}."
        for part, name in enumerate(("query", "key", "value")):
            columns = slice(part * 48, (part + 1) * 48)
            np.testing.assert_array_equal(
                layer.qkv.weights[:, columns].T, torch[f"{prefix}attention.self.{name}.weight"]
            )
            assert layer.qkv.bias is not None
            np.testing.assert_array_equal(layer.qkv.bias[columns], torch[f"{prefix}attention.self.{name}.bias"])
        for linear, name in (
            (layer.output, "attention.output.dense"),
            (layer.up, "intermediate.dense"),
            (layer.down, "output.dense"),
        ):
            np.testing.assert_array_equal(linear.weights.T, torch[f"{prefix}{name}.weight"])
        for norm, name in ((layer.attention_norm, "attention.output"), (layer.output_norm, "output")):
            np.testing.assert_array_equal(norm.gamma, torch[f"{prefix}{name}.LayerNorm.weight"])
            assert norm.epsilon == pytest.approx(1e-12)


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"fused_attention": False},
        {"fused_normalization": True},
        {"fast_gelu": True},
        {"int8_tables": False},
        {"smoothing": 0.0},
        {"fused_attention": False, "fused_normalization": True, "smoothing": 0.0},
    ],
    ids=str,
)
def test_int8_weights_are_the_fp32_ones_rounded_whatever_the_form(
    graphs: Graphs, tmp_path: Path, form: dict[str, Any]
) -> None:
    write_int8(graphs.fp32, tmp_path / "int8.onnx", **form)
    found, exact = weights_of(tmp_path / "int8.onnx"), weights_of(graphs.fp32)
    assert found.tanh_gelu == form.get("fast_gelu", False)
    assert (found.words.dtype == np.int8) == form.get("int8_tables", True)
    for layer, other in zip(found.layers, exact.layers, strict=True):
        for name in ("qkv", "output", "up", "down"):
            linear, expected = getattr(layer, name), getattr(other, name)
            values = linear.weights * linear.scales
            if linear.input.smoothing is not None:
                values = values * linear.input.smoothing[:, None]
            if linear.outliers:
                values[linear.outliers] += linear.outlier_rows
            assert np.linalg.norm(values - expected.weights) < 0.03 * np.linalg.norm(expected.weights)
            np.testing.assert_allclose(linear.bias, expected.bias, rtol=1e-6)


def test_scales_found_anew_for_every_batch_are_refused(graphs: Graphs, tmp_path: Path) -> None:
    write_int8(graphs.fp32, tmp_path / "int8.onnx", fixed_scales=False)
    with pytest.raises(UnsupportedModelError, match=r"made by \w+, not by a product"):
        weights_of(tmp_path / "int8.onnx")


def test_a_constant_may_have_several_names(tiny_teacher: Path, tmp_path: Path) -> None:
    from export.graph import export_graph
    from export.source import open_student

    export_graph(open_student(str(tiny_teacher)), tmp_path / "fp32.onnx")  # its normalisations are all alike
    assert any(node.operator == "Identity" for node in read_onnx(tmp_path / "fp32.onnx").nodes)
    assert len(weights_of(tmp_path / "fp32.onnx").layers) == 2


def test_another_activation_is_refused(tmp_path: Path) -> None:
    relu = build_graphs(tmp_path, Shape(hidden=48, heads=3, layers=1, feed_forward=96, activation="relu"))
    with pytest.raises(UnsupportedModelError, match="activation is not GELU"):
        weights_of(relu.fp32)


def test_a_table_without_layers_is_refused(tiny_bundle: Bundle) -> None:
    with pytest.raises(UnsupportedModelError, match="last_hidden_state: made by Gather, not by LayerNormalization"):
        weights_of(tiny_bundle.path / "onnx" / "model.onnx")


def tamper(graphs: Graphs, path: Path, change: Any) -> Path:
    model = onnx.load(graphs.fp32)
    change(model.graph)
    onnx.save(model, path)
    return path


def _scale_scores_otherwise(graph: onnx.GraphProto) -> None:
    for node in graph.node:
        if node.op_type == "Constant" and node.name.endswith("layer.1/attention/self/Constant_10"):
            node.attribute[0].t.CopyFrom(numpy_helper.from_array(np.array(5.0, np.float32)))


def _swap_query_and_key(graph: onnx.GraphProto) -> None:
    product = next(node for node in graph.node if node.name.endswith("layer.1/attention/self/MatMul"))
    product.input[0], product.input[1] = product.input[1], product.input[0]


def _read_the_other_residual(graph: onnx.GraphProto) -> None:
    total = next(node for node in graph.node if node.name.endswith("layer.1/output/Add"))
    embedded = next(node for node in graph.node if node.op_type == "LayerNormalization").output[0]
    total.input[1] = embedded


def _mask_by_something_else(graph: onnx.GraphProto) -> None:
    masked = next(node for node in graph.node if node.name.endswith("layer.1/attention/self/Add"))
    masked.input[1] = masked.input[0]


def _start_positions_at_two(graph: onnx.GraphProto) -> None:
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name == "value" and attribute.t.dims == [1, 512]:
                values = numpy_helper.to_array(attribute.t)
                if values.any():
                    attribute.t.CopyFrom(numpy_helper.from_array(np.minimum(values + 2, 511)))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_scale_scores_otherwise, "scores of 16 channels are scaled by 0.2"),
        (_swap_query_and_key, "axes end up as"),
        (_read_the_other_residual, "the feed-forward pair reads"),
        (_mask_by_something_else, "not masked by the attention mask alone"),
        (_start_positions_at_two, "neither positions nor one token type"),
    ],
)
def test_what_differs_in_one_place_is_refused(graphs: Graphs, tmp_path: Path, change: Any, reason: str) -> None:
    with pytest.raises(UnsupportedModelError, match=reason):
        weights_of(tamper(graphs, tmp_path / "model.onnx", change))
