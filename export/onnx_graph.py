"""What every change of an ONNX graph asks of it: where the products are, and what nobody reads any more."""

from collections import defaultdict

import onnx


def weight_products(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    """The products of an activation and a constant matrix, by the activation's name, in the order of the graph.

    Fused attention begins with such a product, whose columns are those of query, key and value side by side.
    """
    constants = {tensor.name for tensor in graph.initializer}
    readers = defaultdict(list)
    for node in graph.node:
        if node.op_type in ("MatMul", "Attention") and node.input[1] in constants:
            readers[node.input[0]].append(node)
    return dict(readers)


def drop_unused_tensors(graph: onnx.GraphProto) -> None:
    """Remove the constants that no node reads any more."""
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
