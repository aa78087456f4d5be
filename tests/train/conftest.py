"""A tiny run: random sentences of the tiny vocabulary, the tiny teacher, a cache of its own."""

import json
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import zstandard

from bundle.sts import TASKS
from tests.conftest import WORDS
from train.checkpoint import StageState, save_state
from train.config import Recipe
from train.recipe import parse_recipe


def sentences(count: int, seed: int = 0) -> list[str]:
    """Distinct texts of 3–12 words."""
    chance = random.Random(seed)
    made: dict[str, None] = {}
    while len(made) < count:
        made[" ".join(chance.choices(WORDS, k=chance.randint(3, 12)))] = None
    return list(made)


def with_default_prompt(model: Path, folder: Path, prompt: str) -> Path:
    """A copy of `model` that has a prompt of its own."""
    shutil.copytree(model, folder)
    file = folder / "config_sentence_transformers.json"
    config = json.loads(file.read_text()) | {"prompts": {"own": prompt, "query": ""}, "default_prompt_name": "own"}
    file.write_text(json.dumps(config))
    return folder


def write_recipe(recipe: Recipe, path: Path) -> None:
    """As a file for the command line: JSON values are TOML values when tables are inline."""

    def toml(item: Any) -> str:
        if isinstance(item, dict):
            return "{" + ", ".join(f"{key} = {toml(entry)}" for key, entry in item.items()) + "}"
        if isinstance(item, list):
            return "[" + ", ".join(map(toml, item)) + "]"
        return json.dumps(item)

    document = recipe.model_dump(mode="json", exclude_none=True)
    path.write_text("\n".join(f"{key} = {toml(value)}" for key, value in document.items()))


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
                "max_length": 16,
                "texts": [{"path": str(texts_file)}],
            },
            "finetune": {
                "examples": 64,
                "batch_size": 8,
                "evaluations": 2,
                "max_length": 16,
                "pairs": [{"path": str(pairs_file)}],
            },
        }
        for section, values in changes.items():
            document[section] |= values
        return parse_recipe(document, source="test")

    return make


@contextmanager
def dying_after(checkpoints: int) -> Iterator[None]:
    """Inside, a run ends as by Ctrl-C once it has written so many checkpoints; that it does is asserted."""
    left = iter(range(checkpoints, 0, -1))

    def save_and_die(state: StageState, path: Path) -> None:
        save_state(state, path)
        if next(left) == 1:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("train.loop.save_state", save_and_die)
        with pytest.raises(KeyboardInterrupt):
            yield


@pytest.fixture
def measures(tmp_path: Path) -> Path:
    """A data folder with tiny STS and retrieval files."""
    folder = tmp_path / "measures"
    for name in ("sts", "nli", "passages"):
        (folder / name).mkdir(parents=True)
    chance = random.Random(4)
    for name in ("STSB.dev", *TASKS.values()):
        pairs = zip(sentences(12, 5), sentences(12, 6), strict=True)
        rows = [{"sentence1": a, "sentence2": b, "score": chance.uniform(0, 5)} for a, b in pairs]
        (folder / "sts" / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    documents = list(zip(sentences(12, 7), sentences(12, 8), strict=True))
    table = "\n".join("\t".join(row) for row in documents)
    lines = "\n".join(json.dumps({"title": title, "text": text}) for title, text in documents)
    (folder / "nli" / "medquad_qa.tsv.zst").write_bytes(zstandard.compress(table.encode()))
    for name in ("wikipedia", "wikinews"):
        (folder / "passages" / f"{name}.jsonl.zst").write_bytes(zstandard.compress(lines.encode()))
    return folder
