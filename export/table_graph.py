"""Static student → fp32 ONNX graph, node by node: look up, average, normalise."""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from bundle.onnx_encoder import OUTPUT, TOKENS
from export.source import Student
from export.table_file import read_table

_OPSET = 17
_IR_VERSION = 8
_SMALLEST_NORM = 1e-12  # as torch's `normalize`: a text without tokens is a zero vector, not a fault


def export_table(student: Student, target: Path) -> None:
    """Write the fp32 graph of a static `student`; inputs and outputs are those of `export.graph.export_graph`.

    Raises:
        DamagedStudentError: the weights cannot be read.
    """
    averaged = [
        helper.make_node("Gather", ["table", "input_ids"], [TOKENS]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["mask", "last_axis"], ["counted"], keepdims=1),
        helper.make_node("Max", ["counted", "one"], ["count"]),
        helper.make_node("Div", ["mask", "count"], ["shares"]),
        # As a product of a row of shares and the tokens: no weighted copy of these is ever made.
        helper.make_node("Unsqueeze", ["shares", "middle_axis"], ["row"]),
        helper.make_node("MatMul", ["row", TOKENS], ["mean_row"]),
        helper.make_node("Squeeze", ["mean_row", "middle_axis"], ["mean" if student.normalized else OUTPUT]),
    ]
    normalized = [
        helper.make_node("ReduceL2", ["mean"], ["norm"], axes=[1], keepdims=1),
        helper.make_node("Max", ["norm", "smallest_norm"], ["divisor"]),
        helper.make_node("Div", ["mean", "divisor"], [OUTPUT]),
    ]
    constants: dict[str, NDArray[np.generic]] = {
        "table": read_table(student.encoder),
        "last_axis": np.array([-1]),
        "middle_axis": np.array([1]),
        "one": np.array(1, dtype=np.float32),
        "smallest_norm": np.array(_SMALLEST_NORM, dtype=np.float32),
    }
    axes = ["batch", "sequence"]
    graph = helper.make_graph(
        averaged + (normalized if student.normalized else []),
        "token_table",
        [helper.make_tensor_value_info(name, TensorProto.INT64, axes) for name in ("input_ids", "attention_mask")],
        [
            helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [axes[0], student.dimension]),
            helper.make_tensor_value_info(TOKENS, TensorProto.FLOAT, [*axes, student.dimension]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
    onnx.checker.check_model(model)
    onnx.save(model, target)
