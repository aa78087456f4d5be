"""Graphs that are not what a bundle holds."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, save


def write_graph(
    path: Path, *, inputs: list[str], output: str = "sentence_embedding", columns: list[str] | None = None
) -> Path:
    """A graph that sums each row of two int64 inputs into the two components of its output."""
    columns = columns or [inputs[0], inputs[-1]]
    axis: NDArray[np.int64] = np.array([1])
    nodes = [
        *(helper.make_node("Cast", [name], [f"{name}.float"], to=TensorProto.FLOAT) for name in set(columns)),
        *(
            helper.make_node("ReduceSum", [f"{name}.float", "axis"], [f"component{i}"], keepdims=1)
            for i, name in enumerate(columns)
        ),
        helper.make_node("Concat", ["component0", "component1"], [output], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "sums",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "length"]) for name in inputs],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", "components"])],
        [helper.make_tensor("axis", TensorProto.INT64, [1], axis)],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path
