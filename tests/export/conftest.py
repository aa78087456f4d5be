"""A student that each test may damage, one export that all tests may read, and a graph small enough to look into."""

import shutil
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console

from bundle.arrays import Ids
from bundle.layout import Bundle
from export.build import build
from export.settings import ExportSettings


def export(student: Path, out: Path, *, data: Path | None = None, **settings: object) -> Bundle:
    """Run a whole export with one compute thread and no output."""
    chosen = ExportSettings.model_validate({"student": str(student), "out": out, "threads": 1, **settings})
    return build(chosen, data=data, console=Console(file=StringIO()))


Export = Callable[..., Bundle]


@pytest.fixture(scope="session", name="export")
def export_fixture() -> Export:
    return export


@pytest.fixture
def student(tiny_teacher: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model in a folder of its own."""
    return Path(shutil.copytree(tiny_teacher, tmp_path / "students" / "tiny"))


@pytest.fixture(scope="session")
def exported(tiny_teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny model as a bundle of both precisions; read-only."""
    return export(tiny_teacher, tmp_path_factory.mktemp("bundles") / "tiny")


WIDTH, NARROW, VOCABULARY = 64, 16, 50
HUGE, LARGE = 7, 9
TEXTS: list[Ids] = [np.arange(n, 2 * n, dtype=np.int32) for n in range(1, 25)]


@pytest.fixture
def product_graph(tmp_path: Path) -> Path:
    """Token table → a product twice as wide → a narrow one; channels 7 and 9 of both inputs are outliers."""
    random = np.random.default_rng(0)

    def weights(name: str, *shape: int, scale: float = 1) -> TensorProto:
        return numpy_helper.from_array((scale * random.normal(size=shape)).astype(np.float32), name)

    table = random.normal(size=(VOCABULARY, WIDTH)).astype(np.float32)
    table[:, HUGE] *= 100
    table[:, LARGE] *= 3
    table[0] = 0
    twice = np.concatenate([np.eye(WIDTH), np.eye(WIDTH) / 64], axis=1).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["tokens"], name="lookup"),
        helper.make_node("MatMul", ["tokens", "wide"], ["product"], name="first"),
        helper.make_node("Add", ["bias", "product"], ["hidden"], name="bias_of_first"),
        helper.make_node("MatMul", ["hidden", "narrow"], ["vectors"], name="second"),
        helper.make_node("Cast", ["attention_mask"], ["mask"], name="cast", to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["weights"], name="unsqueeze"),
        helper.make_node("Mul", ["vectors", "weights"], ["masked"], name="masked"),
        helper.make_node("ReduceSum", ["masked", "middle"], ["sentence_embedding"], name="sum", keepdims=0),
    ]
    constants = [
        numpy_helper.from_array(table, "table"),
        numpy_helper.from_array(twice, "wide"),
        weights("bias", 2 * WIDTH, scale=0.1),
        weights("narrow", 2 * WIDTH, NARROW),
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


def run_graph(graph: Path) -> NDArray[np.float32]:
    """The vectors of TEXTS, each alone."""
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    rows = [
        session.run(
            None, {"input_ids": ids[None].astype(np.int64), "attention_mask": np.ones((1, len(ids)), np.int64)}
        )[0]
        for ids in TEXTS
    ]
    return np.concatenate(rows)


def relative_error(graph: Path, reference: Path) -> float:
    expected = run_graph(reference)
    return float(np.linalg.norm(run_graph(graph) - expected) / np.linalg.norm(expected))


def constants_of(graph: Path) -> dict[str, NDArray[np.generic]]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(graph).graph.initializer}
