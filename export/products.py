"""Products with constant matrices in 8 bits: fixed scales for activations, one scale a column for weights.

The scales of activations are fixed at export, from what they reach on sample texts. Scales found anew for every batch,
ONNX Runtime's usual way, take two more passes over the data and make a text's vector depend on what else is in its
batch.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from bundle.arrays import Ids
from export.activations import second_moments, value_ranges
from export.onnx_graph import drop_unused_tensors, weight_products
from export.rounding import round_for_inputs

_DOMAIN = "com.microsoft"
_LEVELS = 255
_HEADROOM = 1.1
"""How much further than on the sample texts an activation may go before it is clipped."""


def quantize_products(
    source: Path, target: Path, texts: Sequence[Ids], *, kept: Collection[str], seven_bits: bool
) -> None:
    """Write the graph `source` to `target` with its products in 8 bits, but those named in `kept`.

    `texts` (int32[length] each) show how far activations reach. `seven_bits`: leave weights a bit of room, for CPUs
    that add two products in 16 bits.
    """
    model = onnx.load(source)
    products = {
        activation: chosen
        for activation, readers in weight_products(model.graph).items()
        if (chosen := [reader for reader in readers if reader.name not in kept])
    }
    moments = second_moments(model, list(products), texts)
    graph = _Graph(model.graph, moments, largest_weight=63 if seven_bits else 127)
    channels = {activation: graph.channels_read(readers) for activation, readers in products.items()}
    for activation, span in value_ranges(model, channels, texts).items():
        graph.quantize_activation(activation, span)
    graph.replace({reader.name for readers in products.values() for reader in readers})
    if _DOMAIN not in {opset.domain for opset in model.opset_import}:
        model.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
    onnx.save(model, target)


class _Graph:
    """A graph while its products are being replaced."""

    def __init__(self, graph: onnx.GraphProto, moments: dict[str, NDArray[np.float64]], *, largest_weight: int) -> None:
        """`moments` are those of every input of a product (`export.activations.second_moments`)."""
        self._graph = graph
        self._moments = moments
        self._largest_weight = largest_weight
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._quantizers: dict[str, onnx.NodeProto] = {}
        self._outputs = {output.name for output in graph.output}
        self._readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in graph.node:
            for name in node.input:
                self._readers[name].append(node)

    def channels_read(self, readers: Sequence[onnx.NodeProto]) -> NDArray[np.bool_]:
        """Which channels of their input matter to `readers`, bool[channels]: where not all weights are zero."""
        matrices = [numpy_helper.to_array(self._constants[reader.input[1]]) for reader in readers]
        read: NDArray[np.bool_] = np.any(np.concatenate(matrices, axis=1) != 0, axis=1)
        return read

    def quantize_activation(self, name: str, span: tuple[float, float]) -> None:
        """Prepare `name`_int8: uint8, 0 being one of its values exactly."""
        low, high = (_HEADROOM * end for end in span)
        scale = (high - low) / _LEVELS
        if scale < np.finfo(np.float32).tiny:  # nothing is there, and no engine could divide by so little
            scale = 1.0
        self._add(f"{name}_scale", np.array(scale, dtype=np.float32))
        self._add(f"{name}_zero", np.array(round(-low / scale), dtype=np.uint8))
        inputs = [name, f"{name}_scale", f"{name}_zero"]
        self._quantizers[name] = helper.make_node("QuantizeLinear", inputs, [f"{name}_int8"], name=f"{name}_int8")

    def replace(self, names: Collection[str]) -> None:
        """Put 8-bit products in the place of those called `names`, each quantiser before its first reader."""
        nodes: list[onnx.NodeProto] = []
        absorbed: set[str] = set()
        for node in self._graph.node:
            if node.name in absorbed:
                continue
            if node.name not in names:
                nodes.append(node)
                continue
            if quantizer := self._quantizers.pop(node.input[0], None):
                nodes.append(quantizer)
            if node.op_type == "Attention":
                nodes.append(self._attention(node))
            else:
                addition = self._bias_addition(node)
                if addition is not None:
                    absorbed.add(addition.name)
                nodes.append(self._product(node, addition))
        del self._graph.node[:]
        self._graph.node.extend(nodes)
        drop_unused_tensors(self._graph)

    def _attention(self, node: onnx.NodeProto) -> onnx.NodeProto:
        activation, weights, bias, mask = node.input[:4]
        inputs = [
            f"{activation}_int8", self._weights(weights, activation), bias,
            f"{activation}_scale", f"{weights}_scales", mask, f"{activation}_zero",
        ]  # fmt: skip
        attributes = {
            attribute.name: helper.get_attribute_value(attribute)
            for attribute in node.attribute
            if attribute.name in ("num_heads", "unidirectional", "mask_filter_value")
        }
        return helper.make_node(
            "QAttention", inputs, [node.output[0]], name=f"{node.name}_int8", domain=_DOMAIN, **attributes
        )

    def _product(self, node: onnx.NodeProto, addition: onnx.NodeProto | None) -> onnx.NodeProto:
        activation, weights = node.input
        inputs = [
            f"{activation}_int8", self._weights(weights, activation), f"{activation}_scale", f"{weights}_scales",
            f"{activation}_zero",
        ]  # fmt: skip
        if addition is not None:
            (bias,) = (name for name in addition.input if name != node.output[0])
            inputs += ["", bias]
        outputs = (addition or node).output
        return helper.make_node("MatMulIntegerToFloat", inputs, list(outputs), name=f"{node.name}_int8", domain=_DOMAIN)

    def _bias_addition(self, product: onnx.NodeProto) -> onnx.NodeProto | None:
        """The addition of a constant row that alone reads the product, if there is one."""
        readers = self._readers[product.output[0]]
        if product.output[0] in self._outputs or [reader.op_type for reader in readers] != ["Add"]:
            return None
        others = [name for name in readers[0].input if name != product.output[0]]
        is_row = len(others) == 1 and others[0] in self._constants and len(self._constants[others[0]].dims) == 1
        return readers[0] if is_row else None

    def _weights(self, name: str, activation: str) -> str:
        """The int8 form of the matrix `name`, made where it does not exist, with `name`_scales beside it."""
        quantized = f"{name}_int8"
        if quantized not in self._constants:
            matrix: NDArray[np.float32] = numpy_helper.to_array(self._constants[name])
            scales = np.abs(matrix).max(axis=0) / np.float32(self._largest_weight)
            scales[scales == 0] = 1
            # Channels that are not read may hold anything: no error of others must be left to them.
            read = np.any(matrix != 0, axis=1)
            moments = self._moments[activation] * np.outer(read, read)
            self._add(quantized, round_for_inputs(matrix, scales, moments, largest=self._largest_weight))
            self._add(f"{name}_scales", scales.astype(np.float32))
        return quantized

    def _add(self, name: str, values: NDArray[np.generic]) -> None:
        tensor = numpy_helper.from_array(values, name)
        self._graph.initializer.append(tensor)
        self._constants[name] = tensor
