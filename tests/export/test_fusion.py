from pathlib import Path

import numpy as np
import onnx
import pytest
from onnxruntime.quantization.shape_inference import quant_pre_process
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling

from bundle.arrays import flatten
from export.forms import Form
from export.fusion import FUSED, Fusion, fuse
from export.graph import export_graph
from export.reference import TorchReference
from export.source import open_student
from export.verify import Verifier
from tests.export.test_graph import FAMILIES, make_student


@pytest.mark.parametrize("family", FAMILIES)
def test_attention_of_known_families_is_fused_and_computes_the_same(
    family: str, tiny_teacher: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    student = open_student(
        str(make_student(tmp_path, FAMILIES[family], tiny_teacher, Pooling(32, "mean"), Normalize()))
    )
    plain, folded, fused = (tmp_path / f"{step}.onnx" for step in ("plain", "folded", "fused"))
    export_graph(student, plain)
    quant_pre_process(plain, folded, skip_symbolic_shape=True)
    fusion = Fusion(layers=2, fused=2 if family in FUSED else 0)
    capfd.readouterr()
    assert fuse(folded, fused, Form()) == fusion
    assert capfd.readouterr() == ("", ""), "the optimizer's chatter is of no use to anyone"
    assert [node.op_type for node in onnx.load(fused).graph.node].count("Softmax") == 2 - fusion.fused
    verifier = Verifier(student, TorchReference(student, threads=1), threads=1)
    ids, offsets = flatten(verifier.text_encoder.encode(["the cat", "music at night in the big blue house", "a"]))
    expected = verifier.open(plain, "fp32").encode(ids, offsets)
    np.testing.assert_allclose(verifier.open(fused, "fp32").encode(ids, offsets), expected, atol=1e-5)
