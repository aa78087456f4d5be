"""Moves outlier channels from activations into weights, so that both survive 8 bits (after SmoothQuant, 2211.10438).

A handful of channels of a transformer's activations are ten times larger than the rest. One scale for the whole
tensor then leaves the rest only a few of the 256 levels. Dividing such a channel of X by s and multiplying the
weights that read it by s leaves X·W as it was: exact in fp32, and what makes int8 hold its gate.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from bundle.arrays import Ids


def smooth(source: Path, target: Path, texts: Sequence[Ids], *, strength: float) -> None:
    """Write the graph `source` to `target` with smoothed inputs of its weight products.

    `texts` (int32[length] each) show how large each channel gets: channel j is divided by
    max(1, largest_j / median of largest)^strength.
    """
    model = onnx.load(source)
    readers = weight_products(model.graph)
    largest = _largest_activations(model, list(readers), texts)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for activation, products in readers.items():
        factors = _factors(largest[activation], strength)
        for product in products:
            matrix = numpy_helper.to_array(weights[product.input[1]])
            name = f"{product.name}_weights"
            model.graph.initializer.append(numpy_helper.from_array(matrix * factors[:, None], name))
            product.input[:] = [f"{activation}_smoothed", name]
        _insert_division(model.graph, activation, factors, before=products[0])
    drop_unused_tensors(model.graph)
    onnx.save(model, target)


def weight_products(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    """The products of an activation and a constant matrix, by the activation's name."""
    constants = {tensor.name for tensor in graph.initializer}
    readers = defaultdict(list)
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in constants:
            readers[node.input[0]].append(node)
    return dict(readers)


def drop_unused_tensors(graph: onnx.GraphProto) -> None:
    """Remove the constants that no node reads any more."""
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _largest_activations(
    model: onnx.ModelProto, activations: list[str], texts: Sequence[Ids]
) -> dict[str, NDArray[np.float32]]:
    """The largest magnitude of each channel of each activation over all tokens of `texts`."""
    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    probed.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in activations)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(probed.SerializeToString(), options, providers=["CPUExecutionProvider"])
    largest: dict[str, NDArray[np.float32]] = {}
    for ids in texts:  # one at a time: no padding distorts the picture
        feeds = {"input_ids": ids[None].astype(np.int64), "attention_mask": np.ones((1, len(ids)), dtype=np.int64)}
        for name, values in zip(activations, session.run(activations, feeds), strict=True):
            peak = np.abs(values).reshape(-1, values.shape[-1]).max(axis=0)
            largest[name] = np.maximum(largest.get(name, peak), peak)
    return largest


def _factors(largest: NDArray[np.float32], strength: float) -> NDArray[np.float32]:
    typical = max(float(np.median(largest)), float(np.finfo(np.float32).tiny))
    factors: NDArray[np.float32] = np.maximum(1, largest / typical).astype(np.float32) ** np.float32(strength)
    return factors


def _insert_division(
    graph: onnx.GraphProto, activation: str, factors: NDArray[np.float32], *, before: onnx.NodeProto
) -> None:
    inverse = numpy_helper.from_array(1 / factors, f"{activation}_smoothing")
    graph.initializer.append(inverse)
    smoothed = f"{activation}_smoothed"
    division = helper.make_node("Mul", [activation, inverse.name], [smoothed], name=smoothed)
    graph.node.insert(list(graph.node).index(before), division)
