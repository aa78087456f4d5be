from pathlib import Path

import onnx
import pytest
from pydantic import ValidationError
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling

from bundle.arrays import flatten
from bundle.choice import choose
from bundle.quality import cosine
from export.fusion import FUSED
from export.graph import export_graph
from export.half import halve
from export.reference import TorchReference
from export.source import open_student
from export.verify import Verifier
from tests.export.conftest import Export
from tests.export.test_graph import FAMILIES, make_student


@pytest.mark.parametrize("family", FAMILIES)
def test_half_as_wide_and_nearly_the_same(family: str, tiny_teacher: Path, tmp_path: Path) -> None:
    folder = make_student(tmp_path, FAMILIES[family], tiny_teacher, Pooling(32, "mean"), Normalize())
    student = open_student(str(folder))
    plain, half = tmp_path / "plain.onnx", tmp_path / "half.onnx"
    export_graph(student, plain)
    fusion = halve(plain, half)
    assert fusion.fused == (2 if family in FUSED else 0)
    types = {tensor.data_type for tensor in onnx.load(half).graph.initializer}
    assert onnx.TensorProto.FLOAT not in types
    assert onnx.TensorProto.FLOAT16 in types
    verifier = Verifier(student, TorchReference(student, threads=1), threads=1)
    ids, offsets = flatten(verifier.text_encoder.encode(["the cat", "music at night in the big blue house", "a"]))
    expected = verifier.open(plain, "fp32").encode(ids, offsets)
    found = verifier.open(half, "fp16").encode(ids, offsets)
    assert found.dtype == expected.dtype
    assert cosine(found, expected).min() > 0.9995
    assert abs(found - expected).max() > 1e-6, "nothing was rounded"


def test_a_bundle_with_it_serves_the_next_graph_where_there_is_no_gpu(
    export: Export, tiny_teacher: Path, tmp_path: Path
) -> None:
    bundle = export(tiny_teacher, tmp_path / "bundle", precision=["fp32", "fp16", "int8"])
    assert [(graph.precision, graph.path) for graph in bundle.manifest.graphs] == [
        ("fp16", "onnx/model_fp16.onnx"),
        ("int8", "onnx/model_int8.onnx"),
        ("fp32", "onnx/model.onnx"),
    ]
    assert bundle.manifest.graphs[0].target == "cuda"
    assert choose(bundle, gpu=False).graph.precision == "int8"
    assert choose(bundle, gpu=True).graph.precision == "fp16"


def test_there_is_nothing_to_tune_of_a_gpu_on_a_cpu(export: Export, tiny_teacher: Path, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="add --precision int8 or fp32"):
        export(tiny_teacher, tmp_path / "bundle", precision=["fp16"], tune=True)
