"""Telling GELU from other activations, and its two forms apart, by what a graph computes rather than by how."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bundle.errors import UnsupportedModelError
from bundle.graph_walk import GraphWalk
from bundle.onnx_file import Node

_Doubles = NDArray[np.float64]

_POINTS = np.linspace(-4, 4, 81)
_TOLERANCE = 1e-5  # the two forms are 4e-4 apart; graphs hold their constants in fp32


def is_tanh_gelu(walk: GraphWalk, value: str, source: str) -> bool:
    """Whether `value` is GELU of `source` by tanh; else it is GELU by erf.

    Raises:
        UnsupportedModelError: it is neither.
    """
    with np.errstate(all="ignore"):  # other activations may divide by zero
        computed = _evaluate(walk, value, {source: _POINTS})
    for tanh, expected in ((False, _gelu_erf(_POINTS)), (True, _gelu_tanh(_POINTS))):
        if np.allclose(computed, expected, atol=_TOLERANCE):
            return tanh
    raise UnsupportedModelError(f"{value}: the activation is not GELU")


def _evaluate(walk: GraphWalk, value: str, known: dict[str, _Doubles]) -> _Doubles:
    """The values of `value`, by those that are `known`, which it is added to: each is computed once."""
    if value not in known:
        known[value] = _number(walk, value) if walk.is_constant(value) else _compute(walk, walk.producer(value), known)
    return known[value]


def _number(walk: GraphWalk, name: str) -> _Doubles:
    constant = walk.constant(name)
    if constant.size != 1:
        raise UnsupportedModelError(f"{name}: {constant.size} numbers in an activation, where one was expected")
    return constant.reshape(()).astype(np.float64)


def _compute(walk: GraphWalk, node: Node, known: dict[str, _Doubles]) -> _Doubles:
    form = node.attributes.get("approximate", "none")
    name = node.operator if form == "none" else f"{node.operator} by {form}"
    if name not in _OPERATORS or node.attributes.keys() - {"approximate"}:
        raise UnsupportedModelError(f"{node.name}: {name} in an activation, or with attributes")
    arity, function = _OPERATORS[name]
    if len(node.inputs) != arity:
        raise UnsupportedModelError(f"{node.name}: {name} of {len(node.inputs)} values in an activation, not {arity}")
    result: _Doubles = function(*(_evaluate(walk, name, known) for name in node.inputs))
    return result


def _erf(x: _Doubles) -> _Doubles:
    return np.array([math.erf(value) for value in x.flat]).reshape(x.shape)


def _gelu_erf(x: _Doubles) -> _Doubles:
    activated: _Doubles = x * (0.5 + 0.5 * _erf(x / math.sqrt(2)))
    return activated


def _gelu_tanh(x: _Doubles) -> _Doubles:
    activated: _Doubles = 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return activated


# By operator and attribute, with the number of values that each takes.
_OPERATORS: dict[str, tuple[int, Callable[..., _Doubles]]] = {
    "Add": (2, np.add),
    "Sub": (2, np.subtract),
    "Mul": (2, np.multiply),
    "Div": (2, np.divide),
    "Pow": (2, np.power),
    "Tanh": (1, np.tanh),
    "Erf": (1, _erf),
    "Relu": (1, lambda x: np.maximum(x, 0)),
    "Gelu": (1, _gelu_erf),
    "Gelu by tanh": (1, _gelu_tanh),
    "FastGelu": (1, _gelu_tanh),
}
