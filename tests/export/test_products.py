from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from bundle.arrays import flatten
from bundle.padding import pad
from export.products import quantize_products
from tests.export.conftest import HUGE, TEXTS, constants_of, relative_error


@pytest.fixture
def quantized(product_graph: Path, tmp_path: Path) -> Path:
    quantize_products(product_graph, tmp_path / "int8.onnx", TEXTS, kept=(), seven_bits=False)
    return tmp_path / "int8.onnx"


def operators(graph: Path) -> list[str]:
    return [node.op_type for node in onnx.load(graph).graph.node]


def test_products_take_their_bias_in_and_stay_close(product_graph: Path, quantized: Path) -> None:
    assert 0 < relative_error(quantized, product_graph) < 0.1  # its outliers are untamed
    assert operators(quantized).count("MatMulIntegerToFloat") == 2
    assert operators(quantized).count("QuantizeLinear") == 2
    assert not {"MatMul", "Add"} & set(operators(quantized))
    assert all(constants_of(quantized)[f"{name}_int8"].dtype == np.int8 for name in ("wide", "narrow"))


def test_a_text_does_not_depend_on_its_batch(quantized: Path) -> None:
    session = ort.InferenceSession(quantized, providers=["CPUExecutionProvider"])

    def vectors(*texts: int) -> NDArray[np.float32]:
        ids, mask = pad(*flatten([TEXTS[text] for text in texts]))
        found: NDArray[np.float32] = session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        return found

    together = vectors(0, 7, 23)
    for row, text in enumerate((0, 7, 23)):
        np.testing.assert_allclose(together[row], vectors(text)[0], rtol=1e-5, atol=1e-4)


def test_what_is_kept_is_left_alone(product_graph: Path, tmp_path: Path) -> None:
    quantize_products(product_graph, tmp_path / "int8.onnx", TEXTS, kept=["second"], seven_bits=False)
    assert operators(tmp_path / "int8.onnx").count("MatMul") == 1
    assert "narrow" in constants_of(tmp_path / "int8.onnx")


def test_seven_bits_leave_room(product_graph: Path, tmp_path: Path) -> None:
    quantize_products(product_graph, tmp_path / "int8.onnx", TEXTS, kept=(), seven_bits=True)
    assert np.abs(constants_of(tmp_path / "int8.onnx")["narrow_int8"].astype(int)).max() == 63
    assert 0 < relative_error(tmp_path / "int8.onnx", product_graph) < 0.1


def test_a_bias_is_left_where_the_plain_product_is_read_too(product_graph: Path, tmp_path: Path) -> None:
    model = onnx.load(product_graph)
    model.graph.output.append(helper.make_empty_tensor_value_info("product"))
    onnx.save(model, tmp_path / "fp32.onnx")
    quantize_products(tmp_path / "fp32.onnx", tmp_path / "int8.onnx", TEXTS, kept=(), seven_bits=False)
    assert operators(tmp_path / "int8.onnx").count("Add") == 1
    assert relative_error(tmp_path / "int8.onnx", tmp_path / "fp32.onnx") < 0.1


def test_a_channel_that_no_product_reads_costs_no_precision(product_graph: Path, tmp_path: Path) -> None:
    model = onnx.load(product_graph)
    (narrow,) = (tensor for tensor in model.graph.initializer if tensor.name == "narrow")
    matrix = numpy_helper.to_array(narrow).copy()
    matrix[HUGE] = 0
    narrow.CopyFrom(numpy_helper.from_array(matrix, "narrow"))
    onnx.save(model, tmp_path / "unread.onnx")
    scales = []
    for fp32 in (product_graph, tmp_path / "unread.onnx"):
        quantize_products(fp32, tmp_path / "int8.onnx", TEXTS, kept=(), seven_bits=False)
        scales.append(float(constants_of(tmp_path / "int8.onnx")["hidden_scale"]))
    assert scales[1] < scales[0] / 10


def test_a_product_of_nothing_but_zeros_has_a_scale_that_can_be_divided_by(product_graph: Path, tmp_path: Path) -> None:
    model = onnx.load(product_graph)
    for tensor in model.graph.initializer:
        if tensor.name == "narrow":
            tensor.CopyFrom(numpy_helper.from_array(np.zeros_like(numpy_helper.to_array(tensor)), "narrow"))
    onnx.save(model, tmp_path / "zeros.onnx")
    quantize_products(tmp_path / "zeros.onnx", tmp_path / "int8.onnx", TEXTS, kept=(), seven_bits=False)
    found = constants_of(tmp_path / "int8.onnx")
    assert (float(found["hidden_scale"]), int(found["hidden_zero"])) == (1, 0)
    assert float(found["tokens_scale"]) != 1, "the other product is not touched"


def test_what_goes_further_than_the_samples_is_clipped(product_graph: Path, tmp_path: Path) -> None:
    """Of the samples, one token alone is known; then come others, a hundred times as large in one channel."""
    quantize_products(product_graph, tmp_path / "int8.onnx", TEXTS[:1], kept=(), seven_bits=False)
    session = ort.InferenceSession(tmp_path / "int8.onnx", providers=["CPUExecutionProvider"])
    ids, mask = pad(*flatten(TEXTS))
    (vectors,) = session.run(None, {"input_ids": ids, "attention_mask": mask})
    assert np.isfinite(vectors).all()
