"""Bundles opened by who knows nothing of this project, each by its own rules."""

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer

from bundle.arrays import Vectors, normalize
from bundle.layout import Bundle
from bundle.quality import cosine
from tests.export.conftest import Export

TEXTS = ["the cat sat", "a slow river under the big tree house", "dog", "music " * 50]
CLOSE = {"fp32": 0.99999, "int8": 0.98}


@pytest.fixture(scope="module")
def expected(tiny_teacher: Path) -> Vectors:
    vectors: Vectors = SentenceTransformer(str(tiny_teacher), device="cpu").encode(TEXTS)
    return vectors


@pytest.fixture(scope="module", params=["fp32", "int8"])
def single(request: pytest.FixtureRequest, tiny_teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of one graph."""
    export: Export = request.getfixturevalue("export")
    return export(tiny_teacher, tmp_path_factory.mktemp("single") / "bundle", precision=[request.param])


def is_close(vectors: Vectors, expected: Vectors, bundle: Bundle) -> bool:
    return bool(cosine(vectors, expected).min() > CLOSE[bundle.manifest.graphs[0].precision])


def test_a_reader_like_text_embeddings_inference(single: Bundle, expected: Vectors) -> None:
    """It takes tokenizer, length and pooling from the JSON files, feeds what the graph asks for and pools by itself."""
    folder = single.path
    config, pooling, lengths = (
        json.loads((folder / name).read_text())
        for name in ("config.json", "1_Pooling/config.json", "sentence_bert_config.json")
    )
    modes = [mode for mode, on in pooling.items() if mode.startswith("pooling_mode") and on]
    assert modes == ["pooling_mode_mean_tokens"], "flags of before version 5, as it knows no others"
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(lengths["max_seq_length"])
    tokenizer.enable_padding(pad_id=config["pad_token_id"])
    encodings = tokenizer.encode_batch(TEXTS)
    session = ort.InferenceSession(folder / "onnx" / "model.onnx", providers=["CPUExecutionProvider"])
    available = {
        "input_ids": np.array([encoding.ids for encoding in encodings]),
        "attention_mask": np.array([encoding.attention_mask for encoding in encodings]),
    }
    feeds = {node.name: available[node.name] for node in session.get_inputs()}
    (tokens,) = session.run(["last_hidden_state"], feeds)
    mask = available["attention_mask"][..., None].astype(np.float32)
    vectors = normalize((tokens * mask).sum(axis=1) / mask.sum(axis=1))
    assert is_close(vectors, expected, single)


def test_sentence_transformers_with_its_default_graph(single: Bundle, expected: Vectors) -> None:
    model = SentenceTransformer(str(single.path), device="cpu", backend="onnx")
    assert is_close(model.encode(TEXTS), expected, single)


def test_the_snippet_of_the_model_card(single: Bundle, expected: Vectors, monkeypatch: pytest.MonkeyPatch) -> None:
    card = (single.path / "README.md").read_text()
    (snippet,) = (block.partition("```")[0] for block in card.split("```python\n")[1:] if "onnxruntime" in block)
    monkeypatch.chdir(single.path)
    names: dict[str, object] = {}
    exec(compile(snippet, "model card", "exec"), names)
    found = next(value for value in names.values() if isinstance(value, np.ndarray) and value.ndim == 2)
    assert found.shape[1] == expected.shape[1]
