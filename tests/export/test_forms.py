from collections import Counter
from pathlib import Path

import msgspec
import onnx
import pytest
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling

from export.forms import Form, changes
from export.graph import export_graph
from export.quantize import quantize
from export.reference import TorchReference
from export.source import open_student
from export.verify import Verifier
from tests.export.test_graph import FAMILIES, make_student

CHANGES = {name: msgspec.structs.replace(Form(), **change) for name, change in changes(Form()).items()}
LAYERS = 2


@pytest.fixture(scope="module")
def fp32(tiny_teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Verifier]:
    """The graph of a BERT student, and who compares others with it."""
    folder = tmp_path_factory.mktemp("forms")
    student = open_student(str(make_student(folder, FAMILIES["bert"], tiny_teacher, Pooling(32, "mean"), Normalize())))
    export_graph(student, folder / "fp32.onnx")
    return folder / "fp32.onnx", Verifier(student, TorchReference(student, threads=1), threads=1)


def test_a_change_is_one_thing_and_comes_back() -> None:
    assert len(CHANGES) == len(Form.__struct_fields__)
    for changed in CHANGES.values():
        different = [field for field in Form.__struct_fields__ if getattr(changed, field) != getattr(Form(), field)]
        assert len(different) == 1
        if different != ["smoothing"]:
            assert any(msgspec.structs.replace(changed, **back) == Form() for back in changes(changed).values())


@pytest.mark.parametrize(
    ("change", "operator", "expected"),
    [
        ("attention fused: no", "QAttention", 0),
        ("attention fused: no", "Softmax", LAYERS),
        ("normalisation fused: yes", "SkipLayerNormalization", 2 * LAYERS),
        ("GELU by tanh: yes", "FastGelu", LAYERS),
        ("scales fixed: no", "QuantizeLinear", 0),
        ("tables in int8: no", "DequantizeLinear", 0),
        ("outliers tamed: no", "QAttention", LAYERS),
    ],
)
def test_every_form_is_what_it_says_and_computes_the_same(
    fp32: tuple[Path, Verifier], tmp_path: Path, change: str, operator: str, expected: int
) -> None:
    graph, verifier = fp32
    quantize(graph, tmp_path / "int8.onnx", texts=verifier.ids, cpu="avx512_vnni", form=CHANGES[change])
    found = Counter(node.op_type for node in onnx.load(tmp_path / "int8.onnx").graph.node)
    assert found[operator] == expected, found
    assert verifier.parity(verifier.open(tmp_path / "int8.onnx", "int8")).cosine.mean > 0.99


def test_the_default_form_has_what_the_changes_take_away(fp32: tuple[Path, Verifier], tmp_path: Path) -> None:
    graph, verifier = fp32
    quantize(graph, tmp_path / "int8.onnx", texts=verifier.ids, cpu="avx512_vnni", form=Form())
    found = Counter(node.op_type for node in onnx.load(tmp_path / "int8.onnx").graph.node)
    assert found["QAttention"] == LAYERS
    assert found["SkipLayerNormalization"] == found["FastGelu"] == 0
    assert found["QuantizeLinear"] == 4 * LAYERS
