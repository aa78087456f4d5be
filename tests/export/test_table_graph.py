import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding

from bundle.arrays import flatten
from bundle.embedder import Embedder
from bundle.layout import open_bundle
from bundle.onnx_encoder import OnnxEncoder
from bundle.quality import cosine
from bundle.runtime import open_encoder
from bundle.text import TextEncoder
from export.errors import DamagedStudentError, UnsupportedModuleError
from export.source import open_student
from export.table_graph import export_table
from tests.conftest import SPECIAL, WORDS, build_tokenizer
from tests.export.conftest import Export

DIMENSION = 32
TEXTS = ["the cat sat", "dog", "music " * 50, "the man reads in the city at night"]


def save_student(folder: Path, *, normalize: bool = True) -> Path:
    """A stock static model with random vectors, as `python -m train` writes one."""
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    tokenizer.post_processor = None
    tokenizer.enable_truncation(16)
    modules: list[torch.nn.Module] = [
        StaticEmbedding(tokenizer, embedding_weights=torch.randn(len(SPECIAL) + len(WORDS), DIMENSION))
    ]
    SentenceTransformer(modules=[*modules, Normalize()] if normalize else modules, device="cpu").save(str(folder))
    return folder


@pytest.fixture
def student(tmp_path: Path) -> Path:
    return save_student(tmp_path / "static")


def open_graph(student: Path, graph: Path) -> tuple[TextEncoder, OnnxEncoder]:
    found = open_student(str(student))
    export_table(found, graph)
    text_encoder = TextEncoder.from_file(found.tokenizer_file, max_length=found.max_length)
    return text_encoder, OnnxEncoder(graph, dimension=found.dimension, label="fp32")


@pytest.mark.parametrize("normalize", [True, False])
def test_the_graph_computes_what_torch_does(tmp_path: Path, normalize: bool) -> None:
    student = save_student(tmp_path / "static", normalize=normalize)
    text_encoder, encoder = open_graph(student, tmp_path / "model.onnx")
    vectors = encoder.encode(*flatten(text_encoder.encode(TEXTS)))
    expected = SentenceTransformer(str(student), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1) == normalize


def test_a_text_without_tokens_is_a_zero_vector(student: Path, tmp_path: Path) -> None:
    text_encoder, encoder = open_graph(student, tmp_path / "model.onnx")
    texts = text_encoder.encode(["   ", "the cat sat"])
    alone, together = encoder.encode(*flatten(texts[:1])), encoder.encode(*flatten(texts))
    assert not alone.any()
    assert not together[0].any()
    np.testing.assert_array_equal(together[1:], encoder.encode(*flatten(texts[1:])))


def test_inputs_and_outputs_are_those_of_every_bundle(student: Path, tmp_path: Path) -> None:
    export_table(open_student(str(student)), tmp_path / "model.onnx")
    graph = onnx.load(tmp_path / "model.onnx").graph
    assert [node.name for node in graph.input] == ["input_ids", "attention_mask"]
    assert [node.name for node in graph.output] == ["sentence_embedding", "last_hidden_state"]
    assert graph.output[0].type.tensor_type.shape.dim[1].dim_value == DIMENSION


def test_a_static_student_becomes_a_bundle_of_both_precisions(student: Path, tmp_path: Path, export: Export) -> None:
    bundle = open_bundle(export(student, tmp_path / "bundle", include_weights=True).path)
    assert [graph.precision for graph in bundle.manifest.graphs] == ["int8", "fp32"]
    assert (bundle.manifest.dimension, bundle.manifest.max_length) == (DIMENSION, 16)
    expected = SentenceTransformer(str(student), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(Embedder.from_bundle(bundle, precision="fp32").embed(TEXTS), expected, atol=1e-5)
    int8 = Embedder.from_bundle(bundle, precision="int8").embed(TEXTS)
    assert cosine(int8, expected).min() > 0.999
    assert not np.allclose(int8, expected, atol=1e-6), "the int8 graph is not int8"
    tables = [
        tensor
        for tensor in onnx.load(bundle.path / "onnx" / "model_int8.onnx").graph.initializer
        if np.prod(tensor.dims) >= DIMENSION * len(WORDS)
    ]
    assert [tensor.data_type for tensor in tables] == [onnx.TensorProto.INT8]
    np.testing.assert_allclose(SentenceTransformer(str(bundle.path), device="cpu").encode(TEXTS), expected, atol=1e-6)
    assert "no token tables by ONNX" in (bundle.path / "README.md").read_text()


def test_padding_costs_nothing_but_time(student: Path, tmp_path: Path, export: Export) -> None:
    bundle = export(student, tmp_path / "bundle")
    ids = TextEncoder.from_bundle(bundle).encode(TEXTS)
    encoder = open_encoder(bundle)
    together = encoder.encode(*flatten(ids))
    alone = np.concatenate([encoder.encode(*flatten([text])) for text in ids])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def edit_tokenizer(student: Path, **changes: object) -> None:
    path = student / "tokenizer.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **changes}))


def test_special_tokens_that_torch_leaves_out_are_refused(student: Path) -> None:
    edit_tokenizer(student, post_processor=json.loads(build_tokenizer().to_str())["post_processor"])
    with pytest.raises(UnsupportedModuleError, match="special tokens, which StaticEmbedding leaves out"):
        open_student(str(student))


def test_texts_without_a_limit_are_refused(student: Path) -> None:
    edit_tokenizer(student, truncation=None)
    with pytest.raises(UnsupportedModuleError, match="no longest text"):
        open_student(str(student))


def test_damaged_weights_are_named(student: Path, tmp_path: Path) -> None:
    weights = student / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2])
    with pytest.raises(DamagedStudentError, match=r"model\.safetensors: cannot be read"):
        open_student(str(student))
    torch_names = content.replace(b"embedding.weight", b"embeddinx.weight")
    weights.write_bytes(torch_names)
    with pytest.raises(DamagedStudentError, match=r"has no tensor embedding\.weight or embeddings"):
        open_student(str(student))
    weights.unlink()
    with pytest.raises(DamagedStudentError, match=r"model\.safetensors"):
        open_student(str(student))
