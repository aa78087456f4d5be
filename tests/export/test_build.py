import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from bundle import sts
from bundle.arrays import Vectors
from bundle.embedder import Embedder
from bundle.errors import DamagedFileError
from bundle.layout import Bundle, open_bundle
from bundle.output_types import OUTPUT_TYPES
from bundle.quality import cosine
from bundle.runtime import open_encoder
from bundle.text import TextEncoder
from export.errors import ExportError, GateFailedError, OccupiedTargetError
from tests.export.conftest import Export

TEXTS = [
    "the cat sat",
    "a slow river under the big tree house",
    "dog",
    "music " * 50,
    "the man reads in the city at night",
]


@pytest.fixture(scope="module")
def expected(tiny_teacher: Path) -> Vectors:
    vectors: Vectors = SentenceTransformer(str(tiny_teacher), device="cpu").encode(TEXTS)
    return vectors


def test_a_bundle_gives_the_vectors_of_the_student(exported: Bundle, expected: Vectors) -> None:
    bundle = open_bundle(exported.path)
    fp32 = Embedder.from_bundle(bundle, precision="fp32").embed(TEXTS)
    int8 = Embedder.from_bundle(bundle, precision="int8").embed(TEXTS)
    np.testing.assert_allclose(fp32, expected, atol=1e-5)
    assert cosine(int8, expected).min() > 0.98
    assert not np.allclose(int8, fp32, atol=1e-5), "the int8 graph is not int8"


def test_padding_changes_nothing(exported: Bundle) -> None:
    text_encoder, encoder = TextEncoder.from_bundle(exported), open_encoder(exported, precision="fp32")
    short, long = text_encoder.encode(["the cat sat", "music " * 50])
    alone = encoder.encode(short, np.array([0, len(short)], dtype=np.int32))
    both = np.array([0, len(short), len(short) + len(long)], dtype=np.int32)
    padded = encoder.encode(np.concatenate([short, long]), both)
    np.testing.assert_allclose(padded[0], alone[0], atol=1e-5)


def test_the_manifest_says_what_serving_needs(exported: Bundle) -> None:
    manifest = exported.manifest
    assert (manifest.dimension, manifest.max_length, manifest.pooling, manifest.normalized) == (32, 32, "mean", True)
    assert [(graph.precision, graph.path) for graph in manifest.graphs] == [
        ("int8", "onnx/model_int8.onnx"),
        ("fp32", "onnx/model.onnx"),
    ]
    assert manifest.graphs[1].target == "any"
    assert all(graph.batch_spread is not None and graph.batch_spread < 1e-5 for graph in manifest.graphs)
    assert manifest.provenance.student == "tiny-teacher"
    assert {"torch", "transformers", "optimum", "onnx", "onnxruntime"} <= manifest.provenance.versions.keys()


def test_quality_json_holds_gates_and_parity(exported: Bundle) -> None:
    quality = json.loads((exported.path / "quality.json").read_bytes())
    assert quality["gates"]
    assert all(gate["passed"] for gate in quality["gates"])
    assert quality["parity"]["fp32"]["cosine"]["worst"] > 0.9999
    assert quality["parity"]["fp32"]["batch_spread"] < 1e-5
    assert quality["bytes"].keys() == {"int8", "fp32"}
    assert quality["outputs"].keys() == set(OUTPUT_TYPES)
    assert quality["outputs"]["int8"]["bytes"] == 32
    assert quality["output_range"] == exported.manifest.output_range
    assert 0 < quality["output_range"] < 1
    assert quality["sts_dev"] == {}


def test_the_quality_gate_uses_sts_data_where_there_is_some(tiny_teacher: Path, tmp_path: Path, export: Export) -> None:
    pairs = [("the cat sat", "a cat sat", 5), ("the dog ran", "music at night", 0), ("red house", "blue house", 3)]
    (tmp_path / "sts").mkdir()
    lines = [json.dumps({"sentence1": one, "sentence2": two, "score": score}) for one, two, score in pairs]
    for name in (sts.SELECTION, *sts.TASKS.values()):
        (tmp_path / "sts" / f"{name}.jsonl").write_text("\n".join(lines))
    bundle = export(tiny_teacher, tmp_path / "out", data=tmp_path, precision=["int8"], sts_drop=200)
    quality = json.loads((bundle.path / "quality.json").read_bytes())
    assert quality["sts_dev"].keys() == {"torch", "int8"}
    assert quality["sts"]["torch"]["tasks"].keys() == sts.TASKS.keys()
    assert "int8 STS-B dev points lost" in [gate["name"] for gate in quality["gates"]]
    assert "| torch |" in (bundle.path / "README.md").read_text()


def test_no_path_of_this_machine_is_in_the_bundle(student: Path, tmp_path: Path, export: Export) -> None:
    for name, key in (("config.json", "_name_or_path"), ("tokenizer_config.json", "name_or_path")):
        content = json.loads((student / name).read_bytes())
        (student / name).write_text(json.dumps({**content, key: str(student)}))
    (student / "training.json").write_text(json.dumps({"teacher": "/models/big-teacher", "loss": 0.1}))
    bundle = export(student, tmp_path / "out", precision=["int8"])
    assert bundle.manifest.provenance.teacher == "big-teacher"
    assert (bundle.path / "training.json").read_bytes() == (student / "training.json").read_bytes()
    files = [file for file in bundle.path.rglob("*") if file.is_file()]
    assert not [file for file in files if str(tmp_path).encode() in file.read_bytes()]
    assert "/models/big" not in (bundle.path / "README.md").read_text()


def test_int8_alone_with_weights_opens_in_sentence_transformers(
    tiny_teacher: Path, tmp_path: Path, export: Export, expected: Vectors
) -> None:
    bundle = export(tiny_teacher, tmp_path / "out", precision=["int8"], include_weights=True)
    assert [graph.precision for graph in bundle.manifest.graphs] == ["int8"]
    # The only graph has the name that other readers look for.
    assert [path.name for path in (bundle.path / "onnx").iterdir()] == ["model.onnx"]
    vectors = SentenceTransformer(str(bundle.path), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(vectors, expected, atol=1e-6)


@pytest.mark.parametrize("graph", ["onnx/model.onnx", "onnx/model_int8.onnx"])
def test_the_onnx_backend_of_sentence_transformers_opens_it(exported: Bundle, expected: Vectors, graph: str) -> None:
    model = SentenceTransformer(str(exported.path), device="cpu", backend="onnx", model_kwargs={"file_name": graph})
    # Few words of the samples are in the tiny vocabulary, so a text may go further than the calibrated scales.
    np.testing.assert_allclose(np.sum(model.encode(TEXTS) * expected, axis=1), 1, atol=0.02)


def test_weights_stay_out_unless_asked_for(exported: Bundle) -> None:
    assert not list(exported.path.rglob("*.safetensors"))


def test_a_bundle_with_weights_can_be_exported_again(tiny_teacher: Path, tmp_path: Path, export: Export) -> None:
    first = export(tiny_teacher, tmp_path / "first", precision=["fp32"], include_weights=True)
    second = export(first.path, tmp_path / "second", precision=["int8"])
    assert (second.path / "README.md").read_text().count("## ONNX bundle") == 1


@pytest.mark.parametrize("gate", ["int8_mean", "int8_first_percentile", "int8_worst", "ranking_agreement"])
def test_a_failed_gate_leaves_nothing(tiny_teacher: Path, tmp_path: Path, export: Export, gate: str) -> None:
    with pytest.raises(GateFailedError, match="does not meet"):
        export(tiny_teacher, tmp_path / "out", **{gate: 1.0})
    assert list(tmp_path.iterdir()) == []


def test_a_failed_gate_leaves_the_former_bundle(tiny_teacher: Path, tmp_path: Path, export: Export) -> None:
    former = export(tiny_teacher, tmp_path / "out", precision=["fp32"])
    with pytest.raises(GateFailedError):
        export(tiny_teacher, former.path, int8_mean=1.0)
    assert open_bundle(former.path).manifest == former.manifest


@pytest.mark.parametrize("error", [OSError("No space left on device"), KeyboardInterrupt()])
def test_an_interrupted_write_leaves_nothing(
    tiny_teacher: Path, tmp_path: Path, export: Export, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*_: object, **__: object) -> str:
        raise error

    monkeypatch.setattr("export.contents.compose_card", fail)
    with pytest.raises(type(error)):
        export(tiny_teacher, tmp_path / "out", precision=["fp32"])
    assert list(tmp_path.iterdir()) == []


def test_a_flipped_byte_is_refused(exported: Bundle, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(exported.path, tmp_path / "copy"))
    graph = copy / "onnx" / "model_int8.onnx"
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"model_int8\.onnx"):
        open_bundle(copy)


def test_only_bundles_are_replaced_unasked(tiny_teacher: Path, tmp_path: Path, export: Export) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    with pytest.raises(OccupiedTargetError, match="--overwrite"):
        export(tiny_teacher, out, precision=["fp32"])
    assert (out / "thesis.txt").read_text() == "years of work"
    export(tiny_teacher, out, precision=["fp32"], overwrite=True)
    export(tiny_teacher, out, precision=["fp32"])
    assert not (out / "thesis.txt").exists()


@pytest.mark.parametrize("out", ["students/tiny", "students", "students/tiny/bundle"])
def test_the_student_is_never_overwritten(student: Path, tmp_path: Path, export: Export, out: str) -> None:
    with pytest.raises(ExportError, match="contain each other"):
        export(student, tmp_path / out, overwrite=True)
    assert (student / "model.safetensors").is_file()


def test_a_file_is_never_overwritten(tiny_teacher: Path, tmp_path: Path, export: Export) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OccupiedTargetError, match="is a file"):
        export(tiny_teacher, tmp_path / "out", overwrite=True)
