"""A tiny run: random sentences of the tiny vocabulary, the tiny teacher, a cache of its own."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import WORDS
from train.config import Recipe
from train.recipe import parse_recipe


def sentences(count: int, seed: int = 0) -> list[str]:
    """Distinct texts of 3–12 words."""
    chance = random.Random(seed)
    made: dict[str, None] = {}
    while len(made) < count:
        made[" ".join(chance.choices(WORDS, k=chance.randint(3, 12)))] = None
    return list(made)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Matrices this small only lose by being shared out, most of all on a busy machine."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("DISCO_CACHE", str(folder))
    monkeypatch.setenv("DISCO_DATA", "")
    return folder


@pytest.fixture
def texts_file(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(sentences(240)) + "\n")
    return path


@pytest.fixture
def pairs_file(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.tsv"
    rows = zip(sentences(40, 1), sentences(40, 2), sentences(40, 3), strict=True)
    path.write_text("\n".join(["anchor\tpositive\tnegative", *("\t".join(row) for row in rows)]) + "\n")
    return path


@pytest.fixture
def make_recipe(tiny_teacher: Path, texts_file: Path, pairs_file: Path) -> Callable[..., Recipe]:
    def make(**changes: dict[str, Any]) -> Recipe:
        document: dict[str, Any] = {
            "name": "tiny-student",
            "bf16": False,
            "teacher": {"model": str(tiny_teacher)},
            "student": {"layers": [0], "max_length": 16},
            "distil": {
                "examples": 1600,
                "batch_size": 16,
                "evaluations": 4,
                "queue_size": 64,
                "learning_rate": 1e-3,
                "texts": [{"path": str(texts_file)}],
            },
            "finetune": {
                "examples": 64,
                "batch_size": 8,
                "evaluations": 2,
                "pairs": [{"path": str(pairs_file)}],
            },
        }
        for section, values in changes.items():
            document[section] |= values
        return parse_recipe(document, source="test")

    return make
