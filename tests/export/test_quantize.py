from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from bundle.arrays import Ids
from export.outliers import tame_outliers
from export.quantize import quantize, quantize_tables

WIDTH, NARROW, VOCABULARY = 64, 16, 50
HUGE, LARGE = 7, 9
TEXTS: list[Ids] = [np.arange(n, 2 * n, dtype=np.int32) for n in range(1, 25)]


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """Token table → a square product → a narrowing product; channels 7 and 9 of both inputs are outliers."""
    random = np.random.default_rng(0)

    def weights(name: str, *shape: int, scale: float = 1) -> TensorProto:
        return numpy_helper.from_array((scale * random.normal(size=shape)).astype(np.float32), name)

    table = random.normal(size=(VOCABULARY, WIDTH)).astype(np.float32)
    table[:, HUGE] *= 100
    table[:, LARGE] *= 3
    table[0] = 0
    square = numpy_helper.from_array(np.eye(WIDTH, dtype=np.float32), "square")
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["tokens"], name="lookup"),
        helper.make_node("MatMul", ["tokens", "square"], ["hidden"], name="first"),
        helper.make_node("MatMul", ["hidden", "narrow"], ["vectors"], name="second"),
        helper.make_node("Cast", ["attention_mask"], ["mask"], name="cast", to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["weights"], name="unsqueeze"),
        helper.make_node("Mul", ["vectors", "weights"], ["masked"], name="masked"),
        helper.make_node("ReduceSum", ["masked", "middle"], ["sentence_embedding"], name="sum", keepdims=0),
    ]
    constants = [
        numpy_helper.from_array(table, "table"),
        square,
        weights("narrow", WIDTH, NARROW),
        numpy_helper.from_array(np.array([-1]), "last"),
        numpy_helper.from_array(np.array([1]), "middle"),
    ]
    ids = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "length"])
        for name in ("input_ids", "attention_mask")
    ]
    output = [helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, ["n", NARROW])]
    model = helper.make_model(
        helper.make_graph(nodes, "tiny", ids, output, constants),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=8,
    )
    onnx.save(model, tmp_path / "fp32.onnx")
    return tmp_path / "fp32.onnx"


def run(graph: Path) -> NDArray[np.float32]:
    import onnxruntime as ort

    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    rows = [
        session.run(
            None, {"input_ids": ids[None].astype(np.int64), "attention_mask": np.ones((1, len(ids)), np.int64)}
        )[0]
        for ids in TEXTS
    ]
    return np.concatenate(rows)


def error(graph: Path, reference: Path) -> float:
    expected = run(reference)
    return float(np.linalg.norm(run(graph) - expected) / np.linalg.norm(expected))


def tensors(graph: Path) -> dict[str, NDArray[np.generic]]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(graph).graph.initializer}


def test_taming_leaves_the_graphs_function_as_it_was(graph: Path, tmp_path: Path) -> None:
    kept = tame_outliers(graph, tmp_path / "tamed.onnx", TEXTS, strength=0.75)
    assert error(tmp_path / "tamed.onnx", graph) < 1e-5
    assert kept == ["second_outliers"], "only the product that narrows keeps its outliers in fp32"
    found = tensors(tmp_path / "tamed.onnx")
    assert found["hidden_outlier_channels"].tolist() == [HUGE]
    assert found["hidden_smoothing"][HUGE] == 0
    assert found["tokens_smoothing"][HUGE] < found["tokens_smoothing"][LARGE] < 1


def test_taming_makes_int8_closer(graph: Path, tmp_path: Path) -> None:
    for name, smoothing in (("plain", 0.0), ("tamed", 0.75)):
        quantize(graph, tmp_path / f"{name}.onnx", TEXTS, cpu="avx512_vnni", smoothing=smoothing)
    assert error(tmp_path / "tamed.onnx", graph) < error(tmp_path / "plain.onnx", graph) / 2
    assert error(tmp_path / "plain.onnx", graph) > 0


def test_weights_and_table_become_int8(graph: Path, tmp_path: Path) -> None:
    quantize(graph, tmp_path / "int8.onnx", TEXTS, cpu="avx512_vnni", smoothing=0.75)
    found = tensors(tmp_path / "int8.onnx")
    large = {name: tensor.dtype for name, tensor in found.items() if tensor.size >= WIDTH * NARROW}
    assert len(large) == 3
    assert set(large.values()) == {np.dtype(np.int8)}
    nodes = [node.op_type for node in onnx.load(tmp_path / "int8.onnx").graph.node]
    assert nodes.count("MatMulInteger") == 2


def test_avx2_weights_keep_to_seven_bits(graph: Path, tmp_path: Path) -> None:
    largest = {}
    for cpu in ("avx2", "avx512_vnni"):
        quantize(graph, tmp_path / f"{cpu}.onnx", TEXTS, cpu=cpu, smoothing=0)
        found = tensors(tmp_path / f"{cpu}.onnx")
        largest[cpu] = max(int(np.abs(found[name].astype(int)).max()) for name in found if name.startswith("narrow_q"))
    assert largest["avx2"] <= 64 < largest["avx512_vnni"]


def test_each_row_of_a_table_is_within_half_a_step(graph: Path, tmp_path: Path) -> None:
    quantize_tables(graph, tmp_path / "tables.onnx")
    before, after = tensors(graph), tensors(tmp_path / "tables.onnx")
    rows, scales = after["table_int8"].astype(np.float32), after["table_scales"].astype(np.float32)
    assert "table" not in after
    assert np.all(np.abs(rows * scales - before["table"].astype(np.float32)) <= scales / 2 + 1e-6)
    assert not rows[0].any()
