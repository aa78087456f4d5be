"""Takes outlier channels out of the way of 8 bits, leaving what the fp32 graph computes as it was.

A few channels of a transformer's activations are ten times larger than the rest, and one scale for the whole tensor
then leaves the rest few of the 256 levels. Two remedies. Before products that widen, every large channel is divided by
a factor and the weights that read it are multiplied by it (after SmoothQuant, 2211.10438). The very largest inputs of
products that narrow, whose weights such a factor would spoil and whose inputs are too many to be divided in no time,
go through a small fp32 product of their own (after LLM.int8(), 2208.07339). Square products need neither.
On all-MiniLM-L6-v2 this takes int8's distance from fp32 from 0.008 to 0.0016.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from bundle.arrays import Ids
from export.activations import largest_magnitudes
from export.onnx_graph import drop_unused_tensors, weight_products

# Of the channels beyond RATIO times the typical one, at most MOST stay in fp32: more did not help further.
RATIO = 4
MOST = 4

_Channels = NDArray[np.int64]
_Floats = NDArray[np.float32]


def tame_outliers(source: Path, target: Path, texts: Sequence[Ids], *, strength: float) -> list[str]:
    """Write the graph `source` to `target` with outliers out of the way; returns the products to keep in fp32.

    `texts` (int32[length] each) show how large each channel gets. Channel j is divided by
    max(1, largest_j / median of largest)^strength.
    """
    model = onnx.load(source)
    products = weight_products(model.graph)
    largest = largest_magnitudes(model, list(products), texts)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    kept: list[str] = []
    for activation, readers in products.items():
        matrices = [numpy_helper.to_array(weights[reader.input[1]]) for reader in readers]
        inputs, outputs = len(matrices[0]), sum(matrix.shape[1] for matrix in matrices)
        if outputs > inputs:
            _smooth(model.graph, activation, readers, matrices, _factors(largest[activation], strength))
        elif outputs < inputs and len(channels := _outliers(largest[activation])):
            kept += _keep_in_fp32(model.graph, activation, readers, matrices, channels)
    drop_unused_tensors(model.graph)
    onnx.save(model, target)
    return kept


def _outliers(largest: _Floats) -> _Channels:
    top = np.argsort(largest)[::-1][:MOST]
    return top[largest[top] > RATIO * np.median(largest)].astype(np.int64)


def _factors(largest: _Floats, strength: float) -> _Floats:
    typical = max(float(np.median(largest)), float(np.finfo(np.float32).tiny))
    factors: _Floats = np.maximum(1, largest / typical).astype(np.float32) ** np.float32(strength)
    return factors


def _smooth(
    graph: onnx.GraphProto, activation: str, readers: list[onnx.NodeProto], matrices: list[_Floats], factors: _Floats
) -> None:
    """Divide `activation` by `factors` before its readers, whose weights are multiplied by them."""
    smoothed = f"{activation}_smoothed"
    graph.initializer.append(numpy_helper.from_array(1 / factors, f"{activation}_smoothing"))
    division = helper.make_node("Mul", [activation, f"{activation}_smoothing"], [smoothed], name=smoothed)
    graph.node.insert(_position(graph, readers[0]), division)
    for reader, matrix in zip(readers, matrices, strict=True):
        reader.input[0] = smoothed
        _give_weights(graph, reader, matrix * factors[:, None])


def _keep_in_fp32(
    graph: onnx.GraphProto,
    activation: str,
    readers: list[onnx.NodeProto],
    matrices: list[_Floats],
    channels: _Channels,
) -> list[str]:
    """Take `channels` out of the readers' products and add what they make there in fp32; returns the new products."""
    listed, picked = f"{activation}_outlier_channels", f"{activation}_outliers"
    graph.initializer.append(numpy_helper.from_array(channels, listed))
    pick = helper.make_node("Gather", [activation, listed], [picked], name=picked, axis=-1)
    graph.node.insert(_position(graph, readers[0]), pick)
    names = []
    for reader, matrix in zip(readers, matrices, strict=True):
        rest = matrix.copy()
        rest[channels] = 0
        _give_weights(graph, reader, rest)
        name, output = f"{reader.name}_outliers", reader.output[0]
        reader.output[0] = f"{output}_rest"
        graph.initializer.append(numpy_helper.from_array(matrix[channels], f"{name}_weights"))
        product = helper.make_node("MatMul", [picked, f"{name}_weights"], [f"{output}_outliers"], name=name)
        total = helper.make_node("Add", [reader.output[0], product.output[0]], [output], name=f"{name}_sum")
        position = _position(graph, reader)
        graph.node.insert(position + 1, product)
        graph.node.insert(position + 2, total)
        names.append(name)
    return names


def _give_weights(graph: onnx.GraphProto, reader: onnx.NodeProto, matrix: _Floats) -> None:
    reader.input[1] = f"{reader.name}_weights"
    graph.initializer.append(numpy_helper.from_array(matrix, reader.input[1]))


def _position(graph: onnx.GraphProto, node: onnx.NodeProto) -> int:
    return [candidate.name for candidate in graph.node].index(node.name)
