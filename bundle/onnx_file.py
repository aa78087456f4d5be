"""Reading an ONNX file without the onnx package, which serving does not have: nodes, constants, outputs.

Knows protocol buffers' wire format and the few fields of ONNX that tell a graph; knows no operator's meaning. Constants
are views of the file, which stays mapped into memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bundle.errors import UnsupportedGraphError

Constant: TypeAlias = NDArray[Any]
Attribute: TypeAlias = int | float | str | tuple[int, ...] | Constant | None
"""None: of a kind that is not read. Whoever asks for no such attribute must still be able to see that it is there."""

# https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
_MODEL_GRAPH = 7
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_OUTPUT = 1, 5, 12
_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME, _NODE_OPERATOR, _NODE_ATTRIBUTE = 1, 2, 3, 4, 5
_ATTRIBUTE_NAME, _ATTRIBUTE_FLOAT, _ATTRIBUTE_INT, _ATTRIBUTE_TEXT = 1, 2, 3, 4
_ATTRIBUTE_TENSOR, _ATTRIBUTE_INTS = 5, 8
_VALUE_NAME = 1
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_RAW, _TENSOR_EXTERNAL = 1, 2, 8, 9, 13
_TENSOR_FLOATS, _TENSOR_INT32S, _TENSOR_INT64S = 4, 5, 7  # int32_data also holds what is smaller
_TYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype("<f4"),
    2: np.dtype("u1"),
    3: np.dtype("i1"),
    6: np.dtype("<i4"),
    7: np.dtype("<i8"),
}
_UNREAD = np.dtype("u1")
"""Types that no encoder of ours is made of are not told apart."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True)
class Node:
    """One operator; an input that is left out is an empty name."""

    operator: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Attribute] = field(default_factory=dict)


@dataclass(frozen=True)
class OnnxGraph:
    """What a file says: nodes in their order, constants by name (`Constant` nodes among them)."""

    nodes: tuple[Node, ...]
    constants: dict[str, Constant]
    outputs: tuple[str, ...]


def read_onnx(path: Path) -> OnnxGraph:
    """Read the graph of the file `path`.

    Raises:
        UnsupportedGraphError: not an ONNX file, or its weights are in other files.
    """
    try:
        with path.open("rb") as file:
            content = memoryview(mmap(file.fileno(), 0, access=ACCESS_READ))
        (graph,) = (value for number, value in _fields(content) if number == _MODEL_GRAPH)
        return _graph(graph)
    # Of a damaged file, any field may be of any kind: a number where there should be bytes is a TypeError.
    except (ValueError, IndexError, TypeError, OverflowError) as error:
        raise UnsupportedGraphError(f"{path}: not an ONNX file that can be read here: {error}") from error


def _graph(message: memoryview) -> OnnxGraph:
    nodes, constants, outputs = [], {}, []
    for number, value in _fields(message):
        if number == _GRAPH_INITIALIZER:
            name, constant = _tensor(value)
            constants[name] = constant
        elif number == _GRAPH_OUTPUT:
            outputs.append("".join(_text(name) for number, name in _fields(value) if number == _VALUE_NAME))
        elif number == _GRAPH_NODE:
            node = _node(value)
            if node.operator == "Constant" and isinstance(held := node.attributes.get("value"), np.ndarray):
                constants[node.outputs[0]] = held
            else:
                nodes.append(node)
    return OnnxGraph(tuple(nodes), constants, tuple(outputs))


def _node(message: memoryview) -> Node:
    texts: dict[int, list[str]] = {number: [] for number in (_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME, _NODE_OPERATOR)}
    attributes: dict[str, Attribute] = {}
    for number, value in _fields(message):
        if number in texts:
            texts[number].append(_text(value))
        elif number == _NODE_ATTRIBUTE:
            name, attribute = _attribute(value)
            attributes[name] = attribute
    return Node(
        operator=texts[_NODE_OPERATOR][0],
        name="".join(texts[_NODE_NAME]),
        inputs=tuple(texts[_NODE_INPUT]),
        outputs=tuple(texts[_NODE_OUTPUT]),
        attributes=attributes,
    )


def _attribute(message: memoryview) -> tuple[str, Attribute]:
    name = ""
    ints: list[int] = []
    found: int | float | str | Constant | None = None
    for number, value in _fields(message):
        if number == _ATTRIBUTE_NAME:
            name = _text(value)
        elif number == _ATTRIBUTE_INT:
            found = _signed(value)
        elif number == _ATTRIBUTE_FLOAT:
            found = float(np.frombuffer(value, dtype="<f4")[0])
        elif number == _ATTRIBUTE_TEXT:
            found = _text(value)
        elif number == _ATTRIBUTE_TENSOR:
            found = _tensor(value)[1]
        elif number == _ATTRIBUTE_INTS:
            ints += _ints(value)
    return name, tuple(ints) if ints else found


def _tensor(message: memoryview) -> tuple[str, Constant]:
    name, kind = "", 0
    shape: list[int] = []
    raw: memoryview | None = None
    whole: list[int] = []
    for number, value in _fields(message):
        if number == _TENSOR_DIMS:
            shape += _ints(value)
        elif number == _TENSOR_TYPE:
            kind = value
        elif number == _TENSOR_NAME:
            name = _text(value)
        elif number in (_TENSOR_RAW, _TENSOR_FLOATS):
            raw = value
        elif number in (_TENSOR_INT32S, _TENSOR_INT64S):
            whole += _ints(value)
        elif number == _TENSOR_EXTERNAL:
            raise ValueError(f"{name} lies in another file")
    dtype = _TYPES.get(kind, _UNREAD)
    if kind not in _TYPES:
        return name, np.empty(0, dtype)
    values = np.array(whole, dtype) if raw is None else np.frombuffer(raw, dtype)
    return name, values.reshape(shape)


def _fields(message: memoryview) -> Iterator[tuple[int, Any]]:
    """The fields of one message: a whole number for varints, bytes for everything else."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, position = _varint(message, position)
            yield number, value
            continue
        if wire == _BYTES:
            size, position = _varint(message, position)
        elif wire in (_FIXED32, _FIXED64):
            size = 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {wire}")
        if position + size > len(message):
            raise ValueError("it ends too early")
        yield number, message[position : position + size]
        position += size


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("a number has no end")


def _ints(value: int | memoryview) -> list[int]:
    """What a repeated whole number holds, one by one or packed."""
    if isinstance(value, int):
        return [_signed(value)]
    values, position = [], 0
    while position < len(value):
        number, position = _varint(value, position)
        values.append(_signed(number))
    return values


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _text(value: Any) -> str:
    if not isinstance(value, memoryview):
        raise TypeError("a number where a text should be")  # of which bytes() would make that many zeros
    return bytes(value).decode()
