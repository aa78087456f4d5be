"""Weights found in graphs are those that torch has, and other models are refused with a reason."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from bundle.bert_graph import find_weights
from bundle.errors import UnsupportedGraphError, UnsupportedModelError
from bundle.layout import Bundle
from bundle.native_weights import Weights
from bundle.onnx_file import read_onnx
from tests.bert import Graphs, Shape, build_graphs, write_int8

SHAPE = Shape(hidden=48, heads=3, layers=2, feed_forward=96)


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Graphs:
    return build_graphs(tmp_path_factory.mktemp("bert"), SHAPE)


def weights_of(path: Path, dimension: int = SHAPE.hidden) -> Weights:
    return find_weights(read_onnx(path), dimension=dimension, pooling="mean", normalized=True)


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
    assert len(weights_of(tmp_path / "fp32.onnx", dimension=32).layers) == 2


def test_another_activation_is_refused(tmp_path: Path) -> None:
    relu = build_graphs(tmp_path, Shape(hidden=48, heads=3, layers=1, feed_forward=96, activation="relu"))
    with pytest.raises(UnsupportedModelError, match="activation is not GELU"):
        weights_of(relu.fp32)


def test_a_table_without_layers_is_refused(tiny_bundle: Bundle) -> None:
    with pytest.raises(UnsupportedModelError, match="last_hidden_state: made by Gather, not by LayerNormalization"):
        weights_of(tiny_bundle.path / "onnx" / "model.onnx")


def tamper(graphs: Graphs, path: Path, change: Any, *, source: Path | None = None) -> Path:
    model = onnx.load(source or graphs.fp32)
    change(model.graph)
    onnx.save(model, path)
    return path


def node_of(graph: onnx.GraphProto, operator: str, number: int = 0) -> onnx.NodeProto:
    nodes: list[onnx.NodeProto] = [node for node in graph.node if node.op_type == operator]
    return nodes[number]


def constant(graph: onnx.GraphProto, name: str, values: Any) -> str:
    graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
    return name


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


def _sum_of_tokens(graph: onnx.GraphProto) -> onnx.NodeProto:
    """The addition that gives what the first normalisation reads."""
    read = node_of(graph, "LayerNormalization").input[0]
    total: onnx.NodeProto = next(node for node in graph.node if read in node.output)
    return total


def _add_rows(graph: onnx.GraphProto, indices: str) -> None:
    """Add rows of the words' table once more, by other numbers."""
    total = _sum_of_tokens(graph)
    words = next(node for node in graph.node if "input_ids" in node.input and node.op_type == "Gather").input[0]
    position = list(graph.node).index(total)
    graph.node.insert(position, helper.make_node("Gather", [words, indices], ["more"], name="more"))
    graph.node.insert(position + 1, helper.make_node("Add", [total.input[0], "more"], ["sum"], name="sum"))
    total.input[0] = "sum"


def _second_words(graph: onnx.GraphProto) -> None:
    _add_rows(graph, "input_ids")


def _second_token_type(graph: onnx.GraphProto) -> None:
    _add_rows(graph, constant(graph, "zeros", np.zeros((1, 1), np.int64)))


def _second_positions(graph: onnx.GraphProto) -> None:
    _add_rows(graph, constant(graph, "numbers", np.arange(9)[None]))


def _cut_positions_later(graph: onnx.GraphProto) -> None:
    for node in graph.node:
        if node.op_type == "Slice":
            node.input[1] = "two"
    constant(graph, "two", np.array([2]))


def _cut_every_other_position(graph: onnx.GraphProto) -> None:
    for node in graph.node:
        if node.op_type == "Slice":
            node.input[4] = "two"
    constant(graph, "two", np.array([2]))


def _cut_positions_at_what_is_computed(graph: onnx.GraphProto) -> None:
    for node in graph.node:
        if node.op_type == "Slice":
            node.input[1] = node.input[2]


def _softmax_of_columns(graph: onnx.GraphProto) -> None:
    node_of(graph, "Softmax").attribute[0].i = 2


def _insert(graph: onnx.GraphProto, position: int, nodes: Sequence[onnx.NodeProto]) -> None:
    before, after = graph.node[:position], graph.node[position:]
    del graph.node[:]
    graph.node.extend([*before, *nodes, *after])


def _before_last_norm(graph: onnx.GraphProto, *nodes: onnx.NodeProto) -> None:
    """Let the last normalisation read what the last of `nodes` makes, and the first of them what it has read."""
    last = node_of(graph, "LayerNormalization", -1)
    for i, name in enumerate(nodes[0].input):
        nodes[0].input[i] = name or last.input[0]
    last.input[0] = nodes[-1].output[0]
    _insert(graph, list(graph.node).index(last), nodes)


def _doubled(count: int) -> list[onnx.NodeProto]:
    names = ["", *(f"sum{i}" for i in range(count))]
    return [helper.make_node("Add", [name] * 2, [after]) for name, after in pairwise(names)]


def _sum_doubled_often(graph: onnx.GraphProto) -> None:
    _before_last_norm(graph, *_doubled(64))


def _long_sum(graph: onnx.GraphProto) -> None:
    name = constant(graph, "one", np.ones(48, np.float32))
    names = ["", *(f"sum{i}" for i in range(5000))]
    _before_last_norm(graph, *(helper.make_node("Add", [a, name], [b]) for a, b in pairwise(names)))


def _sum_of_itself(graph: onnx.GraphProto) -> None:
    _before_last_norm(graph, helper.make_node("Add", ["", "round"], ["round"], name="round"))


def _reshapes_in_a_circle(graph: onnx.GraphProto) -> None:
    first = next(node for node in graph.node if node.name.endswith("layer.1/attention/self/Reshape"))
    second = helper.make_node("Reshape", [first.output[0], first.input[1]], ["round"], name="back")
    first.input[0] = "round"
    graph.node.insert(list(graph.node).index(first) + 1, second)


def _the_same_made_twice(graph: onnx.GraphProto) -> None:
    node_of(graph, "Erf", 1).output[0] = node_of(graph, "Erf", 0).output[0]


def _identity_of_nothing(graph: onnx.GraphProto) -> None:
    graph.node.insert(0, helper.make_node("Identity", [], ["x"]))


def _long_activation(graph: onnx.GraphProto) -> None:
    """Times one, five thousand times."""
    erf = node_of(graph, "Erf")
    name = constant(graph, "one", np.float32(1))
    names = [erf.input[0], *(f"times{i}" for i in range(5000))]
    erf.input[0] = names[-1]
    nodes = [helper.make_node("Mul", [a, name], [b]) for a, b in pairwise(names)]
    _insert(graph, list(graph.node).index(erf), nodes)


def _activation_by_a_row(graph: onnx.GraphProto) -> None:
    for node in graph.node:
        if node.op_type == "Mul" and node.name.endswith("act_fn/Mul_1"):
            node.input[1] = "row"
    constant(graph, "row", np.full(96, 0.5, np.float32))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_second_words, "a second table of words"),
        (_second_token_type, "or a second of these"),
        (_second_positions, "or a second of these"),
        (_cut_positions_later, "something else than the first entries"),
        (_cut_every_other_position, "something else than the first entries"),
        (_cut_positions_at_what_is_computed, "is computed, where a constant was expected"),
        (_softmax_of_columns, "another axis than the last"),
        (_sum_doubled_often, "a sum of more than 8"),
        (_long_sum, "a sum of more than 8"),
        (_sum_of_itself, "round: reads round, which is not made before it"),
        (_reshapes_in_a_circle, "reads round, which is not made before it"),
        (_the_same_made_twice, "which is made already"),
        (_identity_of_nothing, "the graph is malformed: IndexError"),
        (_long_activation, "the graph is malformed: RecursionError"),
        (_activation_by_a_row, "96 numbers in an activation, where one was expected"),
    ],
)
def test_what_is_unusual_or_malformed_is_refused_at_once(
    graphs: Graphs, tmp_path: Path, change: Any, reason: str
) -> None:
    with pytest.raises(UnsupportedModelError, match=reason):
        weights_of(tamper(graphs, tmp_path / "model.onnx", change))


def test_a_normalisation_may_add_nothing(graphs: Graphs, tmp_path: Path) -> None:
    def leave_out(graph: onnx.GraphProto) -> None:
        del node_of(graph, "LayerNormalization", -1).input[2:]
        node_of(graph, "LayerNormalization", 1).input[2] = ""

    found = weights_of(tamper(graphs, tmp_path / "model.onnx", leave_out))
    assert not found.layers[-1].output_norm.beta.any()
    assert not found.layers[0].attention_norm.beta.any()
    assert found.layers[0].output_norm.beta.any()


def _attribute(name: str, value: Any) -> Any:
    def change(graph: onnx.GraphProto) -> None:
        node = node_of(graph, "QAttention")
        kept = [attribute for attribute in node.attribute if attribute.name != name]
        del node.attribute[:]
        node.attribute.extend([*kept, *([] if value is None else [helper.make_attribute(name, value)])])

    return change


def _read_what_came_before(graph: onnx.GraphProto) -> None:
    node = node_of(graph, "QAttention")
    node.input.extend(["", node.input[5]])


def _no_mask(graph: onnx.GraphProto) -> None:
    node_of(graph, "QAttention").input[5] = ""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_read_what_came_before, "attention reads attention_mask_int32"),
        (_no_mask, "not masked by the attention mask"),
        (_attribute("num_heads", None), "None heads"),
        (_attribute("mask_filter_value", -1.0), "-1.0 for what is masked"),
        (_attribute("unidirectional", 1), "options of one direction"),
        (_attribute("do_rotary", 0), "options do_rotary"),
        (_attribute("qkv_hidden_sizes", [16, 16, 16]), "options qkv_hidden_sizes"),
        (_attribute("mode", "local"), "options mode"),
    ],
)
def test_attention_with_more_to_it_is_refused(graphs: Graphs, tmp_path: Path, change: Any, reason: str) -> None:
    with pytest.raises(UnsupportedModelError, match=reason):
        weights_of(tamper(graphs, tmp_path / "model.onnx", change, source=graphs.int8))


@pytest.mark.parametrize("change", [_attribute("unidirectional", 0), _attribute("mask_filter_value", None)])
def test_what_changes_nothing_may_be_said(graphs: Graphs, tmp_path: Path, change: Any) -> None:
    assert weights_of(tamper(graphs, tmp_path / "model.onnx", change, source=graphs.int8)).heads == SHAPE.heads


@pytest.fixture(scope="module")
def fast_gelu(graphs: Graphs) -> Path:
    """A graph whose activation is one operator."""
    path = graphs.int8.with_name("fast_gelu.onnx")
    write_int8(graphs.fp32, path, fast_gelu=True, fused_normalization=True)
    return path


def _activate_by(operator: str, **attributes: str) -> Any:
    def change(graph: onnx.GraphProto) -> None:
        for node in graph.node:
            if node.op_type == "FastGelu":
                node.op_type = operator
                node.attribute.extend(helper.make_attribute(*pair) for pair in attributes.items())

    return change


def test_gelu_tells_its_form_by_an_attribute(graphs: Graphs, fast_gelu: Path, tmp_path: Path) -> None:
    for attributes, tanh in (({}, False), ({"approximate": "none"}, False), ({"approximate": "tanh"}, True)):
        changed = tamper(graphs, tmp_path / "model.onnx", _activate_by("Gelu", **attributes), source=fast_gelu)
        assert weights_of(changed).tanh_gelu == tanh
    for change, reason in (
        (_activate_by("Gelu", approximate="other"), "Gelu by other in an activation"),
        (_activate_by("Gelu", another="none"), "Gelu in an activation, or with attributes"),
        (_activate_by("FastGelu", approximate="tanh"), "FastGelu by tanh in an activation"),
    ):
        with pytest.raises(UnsupportedModelError, match=reason):
            weights_of(tamper(graphs, tmp_path / "model.onnx", change, source=fast_gelu))


def test_an_activation_with_a_bias_is_refused(graphs: Graphs, fast_gelu: Path, tmp_path: Path) -> None:
    def add_bias(graph: onnx.GraphProto) -> None:
        node_of(graph, "FastGelu").input.append(constant(graph, "row", np.ones(96, np.float32)))

    with pytest.raises(UnsupportedModelError, match="FastGelu of 2 values in an activation, not 1"):
        weights_of(tamper(graphs, tmp_path / "model.onnx", add_bias, source=fast_gelu))


def test_a_sum_is_not_taken_for_its_normalisation(graphs: Graphs, fast_gelu: Path, tmp_path: Path) -> None:
    def read_the_sum(graph: onnx.GraphProto) -> None:
        first, second = (node_of(graph, "SkipLayerNormalization", number) for number in (0, 1))
        first.output.extend(["", "", "sum"])
        second.input[list(second.input).index(first.output[0])] = "sum"

    with pytest.raises(UnsupportedModelError, match="without exactly one residual"):
        weights_of(tamper(graphs, tmp_path / "model.onnx", read_the_sum, source=fast_gelu))


@pytest.mark.parametrize("form", ["fp32", "int8"])
def test_of_damaged_graphs_only_typed_errors_come(graphs: Graphs, tmp_path: Path, form: str) -> None:
    path: Path = getattr(graphs, form)
    content = bytearray(path.read_bytes())
    nodes = sum(node.ByteSize() for node in onnx.load(path).graph.node)  # they come first, then weights
    random = np.random.default_rng(0)
    damaged = tmp_path / "damaged.onnx"
    refused = 0
    for position in [*random.integers(0, nodes, 300), *random.integers(nodes, len(content), 50)]:
        kept = content[position]
        content[position] ^= int(random.integers(1, 256))
        damaged.write_bytes(content)
        content[position] = kept
        try:
            weights_of(damaged)
        except UnsupportedGraphError:
            refused += 1
        damaged.unlink()
    assert 100 < refused < 350, "some are weights, or tell what comes after the tokens"
