"""Products with constant matrices as a graph writes them down: fp32, or int8 as `export.products` makes it."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bundle.errors import UnsupportedModelError
from bundle.graph_walk import GraphWalk
from bundle.native_weights import Floats, Linear, Quantizer
from bundle.onnx_file import Node

_Scalar = TypeVar("_Scalar", bound=np.generic)


def find_linear(walk: GraphWalk, summands: Sequence[str]) -> tuple[Linear, str]:
    """The product whose sum with biases and outliers' products `summands` are, and the value that it reads."""
    biases = [walk.floats(name) for name in summands if walk.is_constant(name)]
    nodes = [walk.producer(name) for name in summands if not walk.is_constant(name)]
    outliers = [node for node in nodes if node.operator == "MatMul" and walk.is_made_by(node.inputs[0], "Gather")]
    products = [node for node in nodes if node not in outliers]
    if len(products) != 1 or len(biases) > 1 or len(outliers) > 1:
        raise UnsupportedModelError(f"{', '.join(summands)}: not one product and its bias")
    linear, value = _product(walk, products[0], biases[0] if biases else None)
    for node in outliers:
        linear = _with_outliers(walk, linear, node, value)
    return linear, value


def join(linears: Sequence[Linear]) -> Linear:
    """Products of the same input as one, side by side."""
    first = linears[0]
    for other in linears[1:]:
        if (other.input is None) != (first.input is None) or other.outliers or first.outliers:
            raise UnsupportedModelError("query, key and value are not of one kind")
        if first.input and other.input and not _alike(first.input, other.input):
            raise UnsupportedModelError("query, key and value read their input by different scales or smoothing")
    biases = [
        np.zeros(linear.weights.shape[1], np.float32) if linear.bias is None else linear.bias for linear in linears
    ]
    scales = [linear.scales for linear in linears if linear.scales is not None]
    return Linear(
        weights=np.concatenate([linear.weights for linear in linears], axis=1),
        bias=np.concatenate(biases),
        scales=np.concatenate(scales) if scales else None,
        input=first.input,
    )


def _product(walk: GraphWalk, node: Node, bias: Floats | None) -> tuple[Linear, str]:
    if node.operator in ("MatMul", "Attention"):
        if node.operator == "Attention":
            bias = walk.floats(node.inputs[2])
        return Linear(weights=_matrix(walk, node.inputs[1], np.float32), bias=bias), node.inputs[0]
    if node.operator == "QAttention":
        scale, weight_scales, zero, fused_bias = node.inputs[3], node.inputs[4], node.inputs[6], node.inputs[2]
        zeros_of_weights = node.inputs[7:8]
    elif node.operator == "MatMulIntegerToFloat":
        scale, weight_scales, zero = node.inputs[2:5]
        zeros_of_weights = node.inputs[5:6]
        fused_bias = node.inputs[6] if len(node.inputs) > 6 else ""
    else:
        raise UnsupportedModelError(f"{node.outputs[0]}: made by {node.operator}, not by a product")
    if any(name and walk.constant(name).any() for name in zeros_of_weights):
        raise UnsupportedModelError(f"{node.name}: weights are not symmetric")
    if fused_bias:
        if bias is not None:
            raise UnsupportedModelError(f"{node.name}: two biases")
        bias = walk.floats(fused_bias)
    quantizer, value = _quantizer(walk, node.inputs[0], scale, zero)
    weights = _matrix(walk, node.inputs[1], np.int8)
    scales = np.ascontiguousarray(np.broadcast_to(walk.floats(weight_scales).reshape(-1), weights.shape[1]))
    return Linear(weights=weights, bias=bias, scales=scales, input=quantizer), value


def _quantizer(walk: GraphWalk, value: str, scale: str, zero: str) -> tuple[Quantizer, str]:
    node = walk.producer(value, "QuantizeLinear")
    if node.inputs[1] != scale or node.inputs[2] != zero:
        raise UnsupportedModelError(f"{node.name}: quantised by other scales than it is read by")
    zero_point = walk.constant(zero)
    if zero_point.dtype != np.uint8 or walk.floats(scale).size != 1:
        raise UnsupportedModelError(f"{node.name}: not quantised to uint8 by one scale")
    smoothing = None
    source = node.inputs[0]
    if walk.is_made_by(source, "Mul"):
        factors = walk.producer(source).inputs
        if walk.is_constant(factors[1]) and walk.constant(factors[1]).ndim == 1:
            source, smoothing = factors[0], walk.floats(factors[1])
    return Quantizer(float(walk.floats(scale).reshape(())), int(zero_point.reshape(())), smoothing), source


def _alike(one: Quantizer, other: Quantizer) -> bool:
    if (one.scale, one.zero) != (other.scale, other.zero):
        return False
    if one.smoothing is None or other.smoothing is None:
        return one.smoothing is other.smoothing
    return np.array_equal(one.smoothing, other.smoothing)


def _with_outliers(walk: GraphWalk, linear: Linear, node: Node, value: str) -> Linear:
    picking = walk.producer(node.inputs[0], "Gather")
    if picking.inputs[0] != value or picking.attributes.get("axis", 0) not in (-1, 2) or linear.input is None:
        raise UnsupportedModelError(f"{node.name}: a product of something else than its neighbour's outliers")
    return Linear(
        weights=linear.weights,
        bias=linear.bias,
        scales=linear.scales,
        input=linear.input,
        outliers=[int(channel) for channel in walk.constant(picking.inputs[1]).reshape(-1)],
        outlier_rows=_matrix(walk, node.inputs[1], np.float32),
    )


def _matrix(walk: GraphWalk, name: str, dtype: type[_Scalar]) -> NDArray[_Scalar]:
    matrix = walk.constant(name)
    if matrix.dtype != dtype or matrix.ndim != 2:
        raise UnsupportedModelError(f"{name}: not a matrix of {np.dtype(dtype)}")
    return np.require(matrix, requirements=["C", "ALIGNED"])
