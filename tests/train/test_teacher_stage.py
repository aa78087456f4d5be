"""Runs whose recipe has [teacher.finetune]: the teacher is finetuned before the student learns from it."""

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from tests.train.conftest import dying_after, sentences
from tests.train.report.test_tensorboard import curves
from train.config import Recipe, Teacher
from train.errors import DataError, DivergedError
from train.scoring import StsSelection
from train.sources import Texts
from train.stages import train
from train.teacher import TeacherEncoder

TEXTS = sentences(20, seed=9)
UNTOUCHED = {"examples": 16, "evaluations": 1, "learning_rate": 1e-12}


@pytest.fixture(autouse=True)
def every_evaluation_is_the_best_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = count()
    monkeypatch.setattr(StsSelection, "__call__", lambda *_: float(next(numbers)))


@pytest.fixture
def recipe(make_recipe: Callable[..., Recipe], pairs_file: Path) -> Callable[..., Recipe]:
    """One whose teacher learns much, and whose student stays what it was made from."""

    def make(prompt: str = "", student: dict[str, Any] | None = None, **changes: Any) -> Recipe:
        finetune: dict[str, Any] = {
            "examples": 160,
            "batch_size": 8,
            "evaluations": 2,
            "learning_rate": 3e-3,
            "pairs": [{"path": str(pairs_file), "license": "CC0"}],
        }
        whole = make_recipe(
            teacher={"prompt": prompt, "finetune": finetune | changes},
            student={"layers": [0, 1], "max_length": 32} | (student or {}),
            distil=UNTOUCHED,
            finetune=UNTOUCHED,
        )
        return whole.model_copy(update={"finetune": None})

    return make


def encode(folder: Path, prompt: str = "") -> np.ndarray:
    return np.asarray(SentenceTransformer(str(folder)).encode([prompt + text for text in TEXTS]))


def mean_cosine(left: np.ndarray, right: np.ndarray) -> float:
    return float((left * right).sum(axis=1).mean())


def test_the_finetuned_teacher_is_cached_kept_and_where_the_student_starts(
    recipe: Callable[..., Recipe], tiny_teacher: Path, texts_file: Path, measures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "student"
    train(recipe(), out, data=measures, resume=False)
    assert mean_cosine(encode(out / "teacher"), encode(tiny_teacher)) < 0.99
    assert np.allclose(encode(out), encode(out / "teacher"), atol=1e-4)

    class Cached(TeacherEncoder):
        def encode(self, texts: list[str]) -> np.ndarray:
            raise AssertionError(f"of {len(texts)} texts the run cached another teacher's vectors")

    cached = Cached(Teacher(model=str(out / "teacher")), bf16=False)
    vectors = cached.source_vectors(Texts(path=str(texts_file)), None, rows=240, advance=lambda _: None)
    expected = SentenceTransformer(str(out / "teacher")).encode(texts_file.read_text().splitlines())
    assert np.allclose(vectors, expected, atol=2e-3)


def test_the_stage_is_told_like_the_others(recipe: Callable[..., Recipe], measures: Path, tmp_path: Path) -> None:
    out = tmp_path / "student"
    train(recipe(distil_weight=1.0), out, data=measures, resume=False)
    record = json.loads((out / "training.json").read_text())
    stages = list(dict.fromkeys(entry["stage"] for entry in record["history"]))
    assert stages == ["teacher", "distil"]
    assert record["history"][1]["terms"].keys() == {"contrastive", "cosine"}
    assert len(curves(out / "logs" / "teacher")["score"]) == 3
    assert "(itself finetuned on labelled pairs first)" in (out / "README.md").read_text()
    assert "| finetuning the teacher | CC0 |" in (out / "README.md").read_text()
    report = (out / "report.html").read_text()
    assert "<h2>Stage 1: teacher</h2>" in report
    assert "<td>teacher.finetune</td>" in report
    assert record["sts"].keys() == {"student", "finetuned teacher", "teacher"}
    assert record["sts"]["student"]["tasks"] == pytest.approx(record["sts"]["finetuned teacher"]["tasks"], abs=0.01)
    assert record["sts"]["teacher"] != record["sts"]["finetuned teacher"], "as it came it is scored too"
    [path] = [source["path"] for source in record["recipe"]["teacher"]["finetune"]["pairs"]]
    assert len(record["data"][path]["sha256"]) == 64


def test_the_distil_weight_holds_the_teacher_to_what_it_was(
    recipe: Callable[..., Recipe], tiny_teacher: Path, measures: Path, tmp_path: Path
) -> None:
    prompt = "the "
    for name, weight in (("free", 0.0), ("held", 50.0)):
        train(recipe(prompt, distil_weight=weight), tmp_path / name, data=measures, resume=False)
    original, free, held = (
        encode(folder, prompt) for folder in (tiny_teacher, tmp_path / "free/teacher", tmp_path / "held/teacher")
    )
    assert mean_cosine(free, original) < mean_cosine(held, original) - 0.01


@pytest.mark.parametrize("checkpoints", [1, 2, 3])  # of the teacher the last but one and the last, of the student
def test_a_run_that_died_with_the_teacher_ends_with_the_same_student(
    checkpoints: int,
    recipe: Callable[..., Recipe],
    measures: Path,
    tmp_path: Path,
) -> None:
    drawn = {"init": "random", "hidden_layers": 1, "hidden_size": 16, "attention_heads": 2}
    with dying_after(checkpoints):
        train(recipe(student=drawn), tmp_path / "killed", data=measures, resume=False)
    assert (tmp_path / "killed.run" / "teacher").exists() == (checkpoints == 3)
    train(recipe(student=drawn), tmp_path / "killed", data=measures, resume=True)
    train(recipe(student=drawn), tmp_path / "whole", data=measures, resume=False)
    for part in ("", "teacher"):
        assert np.array_equal(encode(tmp_path / "killed" / part), encode(tmp_path / "whole" / part))


def test_a_teacher_that_diverges_is_told_its_own_setting(
    recipe: Callable[..., Recipe], measures: Path, tmp_path: Path
) -> None:
    with pytest.raises(DivergedError, match=r"--set teacher\.finetune\.learning_rate"):
        train(recipe(learning_rate=1e30), tmp_path / "student", data=measures, resume=False)


def test_without_sts_nothing_could_select_the_teacher(recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing to select a finetuned teacher by"):
        train(recipe(), tmp_path / "student", data=None, resume=False)
