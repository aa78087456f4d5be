"""Telling GELU from other activations, and its two forms apart, by what a graph computes rather than by how."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bundle.errors import UnsupportedModelError
from bundle.graph_walk import GraphWalk

_Doubles = NDArray[np.float64]

_POINTS = np.linspace(-4, 4, 81)
_TOLERANCE = 1e-5  # the two forms are 4e-4 apart; graphs hold their constants in fp32


def is_tanh_gelu(walk: GraphWalk, value: str, source: str) -> bool:
    """Whether `value` is GELU of `source` by tanh; else it is GELU by erf.

    Raises:
        UnsupportedModelError: it is neither.
    """
    computed = _evaluate(walk, value, source)
    for tanh, expected in ((False, _gelu_erf(_POINTS)), (True, _gelu_tanh(_POINTS))):
        if np.allclose(computed, expected, atol=_TOLERANCE):
            return tanh
    raise UnsupportedModelError(f"{value}: the activation is not GELU")


def _evaluate(walk: GraphWalk, value: str, source: str) -> _Doubles:
    if value == source:
        return _POINTS
    if walk.is_constant(value):
        return walk.constant(value).astype(np.float64)
    node = walk.producer(value)
    if node.operator not in _OPERATORS:
        raise UnsupportedModelError(f"{value}: {node.operator} in an activation")
    operands = [_evaluate(walk, name, source) for name in node.inputs]
    result: _Doubles = _OPERATORS[node.operator](*operands)
    return result


def _erf(x: _Doubles) -> _Doubles:
    return np.array([math.erf(value) for value in x.flat]).reshape(x.shape)


def _gelu_erf(x: _Doubles) -> _Doubles:
    activated: _Doubles = x * (0.5 + 0.5 * _erf(x / math.sqrt(2)))
    return activated


def _gelu_tanh(x: _Doubles) -> _Doubles:
    activated: _Doubles = 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return activated


_OPERATORS: dict[str, Callable[..., _Doubles]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Pow": np.power,
    "Tanh": np.tanh,
    "Erf": _erf,
    "Relu": lambda x: np.maximum(x, 0),
    "Gelu": _gelu_erf,
    "FastGelu": _gelu_tanh,
}
