"""fp32 graph → int8 graph: dynamic activations, per-channel weights, and the token table by rows.

ONNX Runtime would give the whole token table one scale; a scale per row costs 1 % more space and loses nothing.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process

from bundle.arrays import Ids
from bundle.cpu import Cpu, saturates
from export.outliers import drop_unused_tensors, tame_outliers

_LARGEST_INT8 = 127


def quantize(source: Path, target: Path, texts: Sequence[Ids], *, cpu: Cpu, smoothing: float) -> None:
    """Write the fp32 graph `source` as an int8 graph to `target`.

    `texts` (int32[length] each) show where the outliers are; `smoothing` 0 leaves these alone (see `export.outliers`).
    """
    with TemporaryDirectory(prefix="disco-quantize-") as folder:
        prepared, tamed, products = (Path(folder) / f"{step}.onnx" for step in ("prepared", "tamed", "products"))
        # Folds constants. Shapes are not needed: only products with constant matrices are quantised.
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        kept = tame_outliers(prepared, tamed, texts, strength=smoothing) if smoothing else []
        quantize_dynamic(
            tamed if smoothing else prepared,
            products,
            op_types_to_quantize=["MatMul"],
            nodes_to_exclude=kept,
            per_channel=True,
            reduce_range=saturates(cpu),
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )
        quantize_tables(products, target)


def quantize_tables(source: Path, target: Path) -> None:
    """Store each embedding table of the graph as int8[rows, dim] with one float32 scale a row."""
    model = onnx.load(source)
    tables = {tensor.name: tensor for tensor in model.graph.initializer if _is_table(tensor)}
    nodes = []
    for node in model.graph.node:
        if _looks_up_rows(node) and node.input[0] in tables:
            nodes += _lookup_by_rows(model.graph, node, tables[node.input[0]])
        else:
            nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    drop_unused_tensors(model.graph)
    onnx.save(model, target)


def _is_table(tensor: onnx.TensorProto) -> bool:
    return tensor.data_type == TensorProto.FLOAT and len(tensor.dims) == 2


def _looks_up_rows(node: onnx.NodeProto) -> bool:
    return node.op_type == "Gather" and all(
        attribute.i == 0 for attribute in node.attribute if attribute.name == "axis"
    )


def _lookup_by_rows(graph: onnx.GraphProto, lookup: onnx.NodeProto, tensor: onnx.TensorProto) -> list[onnx.NodeProto]:
    """What replaces `lookup`: rows and scales are gathered, then multiplied."""
    table = numpy_helper.to_array(tensor)
    scales = np.abs(table).max(axis=1, keepdims=True) / _LARGEST_INT8
    scales[scales == 0] = 1  # a row of zeros, such as padding's, stays zero
    rows = np.rint(table / scales).astype(np.int8)
    rows_name, scales_name = f"{tensor.name}_int8", f"{tensor.name}_scales"
    if rows_name not in {known.name for known in graph.initializer}:
        graph.initializer.append(numpy_helper.from_array(rows, rows_name))
        graph.initializer.append(numpy_helper.from_array(scales.astype(np.float32), scales_name))
    indices, output = lookup.input[1], lookup.output[0]
    return [
        helper.make_node("Gather", [rows_name, indices], [f"{output}_rows"], name=f"{output}_rows"),
        helper.make_node("Cast", [f"{output}_rows"], [f"{output}_steps"], name=f"{output}_steps", to=TensorProto.FLOAT),
        helper.make_node("Gather", [scales_name, indices], [f"{output}_row_scales"], name=f"{output}_row_scales"),
        helper.make_node("Mul", [f"{output}_steps", f"{output}_row_scales"], [output], name=f"{output}_dequantized"),
    ]
