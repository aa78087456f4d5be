"""Read by us and read by the onnx package."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from bundle.errors import UnsupportedGraphError
from bundle.onnx_file import read_onnx

CONSTANTS: dict[str, NDArray[Any]] = {
    "floats": np.array([[1.5, -2], [3, 4]], np.float32),
    "bytes": np.array([-128, 127], np.int8),
    "levels": np.array(200, np.uint8),
    "whole": np.array([-1, 2**40], np.int64),
    "small": np.array([-7], np.int32),
    "none": np.empty((0, 3), np.float32),
}


@pytest.fixture
def graph_file(tmp_path: Path) -> Path:
    nodes = [
        helper.make_node("Constant", [], ["held"], value=numpy_helper.from_array(np.array([3], np.int64))),
        helper.make_node("Transpose", ["x"], ["y"], name="turn", perm=[0, 2, 1]),
        helper.make_node("Clip", ["y", "", "held"], ["z"], name="clip", epsilon=0.25, axis=-1, word="text", many=[0.5]),
    ]
    typed = [
        helper.make_tensor("typed_floats", TensorProto.FLOAT, [2], [0.5, 1.5]),
        helper.make_tensor("typed_whole", TensorProto.INT64, [3], [-1, 5, 2**50]),
        helper.make_tensor("typed_bytes", TensorProto.INT8, [2], [-3, 4]),
        helper.make_tensor("typed_doubles", TensorProto.DOUBLE, [1], [0.5]),
    ]
    constants = [numpy_helper.from_array(value, name) for name, value in CONSTANTS.items()] + typed
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "graph", [value("x", TensorProto.FLOAT, [1])], [value("z", TensorProto.FLOAT, [1])], constants
    )
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph), path)
    return path


def test_nodes_constants_and_outputs_are_those_of_the_file(graph_file: Path) -> None:
    graph = read_onnx(graph_file)
    assert graph.outputs == ("z",)
    turn, clip = graph.nodes
    assert (turn.operator, turn.inputs, turn.outputs) == ("Transpose", ("x",), ("y",))
    assert turn.attributes == {"perm": (0, 2, 1)}
    assert (clip.name, clip.inputs) == ("clip", ("y", "", "held"))
    assert clip.attributes == {"epsilon": 0.25, "axis": -1, "word": "text", "many": None}, "also what is not read"
    for name, expected in CONSTANTS.items():
        assert graph.constants[name].dtype == expected.dtype
        np.testing.assert_array_equal(graph.constants[name], expected)
    assert graph.constants["held"].tolist() == [3]
    assert graph.constants["typed_floats"].tolist() == [0.5, 1.5]
    assert graph.constants["typed_whole"].tolist() == [-1, 5, 2**50]
    assert graph.constants["typed_bytes"].tolist() == [-3, 4]


def test_what_is_no_onnx_file_is_refused_wherever_it_ends(graph_file: Path) -> None:
    content = graph_file.read_bytes()
    refused = 0
    for length in range(len(content)):
        graph_file.write_bytes(content[:length])
        try:
            read_onnx(graph_file)
        except UnsupportedGraphError:
            refused += 1
    assert refused > len(content) * 0.9, "some prefixes are whole files, without what would have come last"
    graph_file.write_bytes(np.random.default_rng(0).bytes(1000))
    with pytest.raises(UnsupportedGraphError, match=re.escape(str(graph_file))):
        read_onnx(graph_file)


@pytest.mark.parametrize("change", [0x01, 0x07, 0x10, 0x80, 0xFF])
def test_any_byte_may_be_another(graph_file: Path, tmp_path: Path, change: int) -> None:
    content = graph_file.read_bytes()
    refused = 0
    for position in range(len(content)):
        damaged = tmp_path / "damaged.onnx"
        damaged.write_bytes(content[:position] + bytes([content[position] ^ change]) + content[position + 1 :])
        try:
            read_onnx(damaged)
        except UnsupportedGraphError:
            refused += 1
        damaged.unlink()
    assert 0 < refused < len(content), "most bytes are names and numbers, which may be any"


def _field(number: int, content: bytes | int) -> bytes:
    """A field of a message: a whole number, or bytes."""

    def varint(value: int) -> bytes:
        return bytes([value & 0x7F | 0x80]) + varint(value >> 7) if value > 0x7F else bytes([value])

    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


@pytest.mark.parametrize(
    "content",
    [
        _field(7, 1),
        _field(7, _field(1, 5)),
        _field(7, _field(1, _field(3, 2**40))),
        _field(7, _field(5, _field(8, 2**40))),
        _field(7, _field(5, _field(2, 1) + _field(9, 2**40))),
        _field(7, _field(12, _field(1, 2**40))),
        _field(7, b"") * 2,
    ],
    ids=["graph", "node", "name", "name of a constant", "content of a constant", "name of an output", "two graphs"],
)
def test_a_number_where_something_else_should_be_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(UnsupportedGraphError, match="not an ONNX file that can be read here"):
        read_onnx(tmp_path / "model.onnx")


def test_an_output_may_have_no_name(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(_field(7, _field(12, b"")))
    assert read_onnx(tmp_path / "model.onnx").outputs == ("",)


def test_weights_in_another_file_are_refused(graph_file: Path) -> None:
    model = onnx.load(graph_file)
    onnx.save(model, graph_file, save_as_external_data=True, size_threshold=0)
    with pytest.raises(UnsupportedGraphError, match="lies in another file"):
        read_onnx(graph_file)
