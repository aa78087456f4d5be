"""Runs with [[more_teachers]], whose vectors are put side by side."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer
from torch.nn.functional import cosine_similarity

from bundle.quality import Encode
from bundle.sts import StsScores
from tests.train.conftest import sentences
from train.config import Recipe, Teacher
from train.corpus import ConcatenatedVectors, VectorMixture, side_by_side
from train.report.teacher_scores import teacher_scores
from train.stages import train
from train.teacher import TeacherEncoder


def unit(rows: int, dimension: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((rows, dimension)).astype(np.float32)
    unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def test_the_cosine_of_two_targets_is_the_mean_of_the_teachers_cosines() -> None:
    teachers = [unit(9, dimension, seed) for seed, dimension in enumerate((4, 7, 16))]
    joined = side_by_side(teachers)
    assert joined.shape == (9, 27)
    assert joined.dtype == np.float32
    for i in range(9):
        for j in range(9):
            cosines = [float(teacher[i] @ teacher[j]) for teacher in teachers]
            found = cosine_similarity(torch.tensor(joined[i]), torch.tensor(joined[j]), dim=0).item()
            assert found == pytest.approx(sum(cosines) / 3, abs=1e-6)


def test_rows_are_taken_from_every_teacher_and_one_teacher_stays_as_it_is() -> None:
    teachers = [VectorMixture([unit(n, 5 + seed, seed).astype(np.float16) for n in (3, 4)]) for seed in range(2)]
    rows = np.array([6, 0, 3])
    both = ConcatenatedVectors(teachers)
    assert both.dimension == 11
    assert np.array_equal(both[rows], side_by_side([teacher[rows] for teacher in teachers]))
    assert np.array_equal(ConcatenatedVectors(teachers[:1])[rows], teachers[0][rows])


@pytest.fixture
def other_teacher(tiny_teacher: Path, tmp_path: Path) -> Path:
    """Other weights, and a tokenizer that numbers the words in another way."""
    folder = Path(shutil.copytree(tiny_teacher, tmp_path / "other-teacher"))
    model = SentenceTransformer(str(folder))
    torch.manual_seed(1)
    for weights in model.parameters():
        torch.nn.init.normal_(weights, std=0.3)
    model[0].save(str(folder))
    tokenizer = json.loads(Tokenizer.from_file(str(folder / "tokenizer.json")).to_str())
    words = [word for word, number in tokenizer["model"]["vocab"].items() if number >= 4]
    tokenizer["model"]["vocab"] |= dict(zip(words, range(len(words) + 3, 3, -1), strict=True))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return folder


def test_a_student_learns_from_two_teachers_and_says_so(
    make_recipe: Callable[..., Recipe],
    tiny_teacher: Path,
    other_teacher: Path,
    measures: Path,
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alone = make_recipe(distil={"evaluations": 2, "learning_rate": 3e-3}, finetune={"distil_weight": 1.0})
    teachers = (Teacher(model=str(tiny_teacher), name="tiny"), Teacher(model=str(other_teacher), prompt="the "))
    first = alone.teacher.model_copy(update={"name": "tiny"})
    recipe = alone.model_copy(update={"teacher": first, "more_teachers": teachers[1:]})
    train(recipe, tmp_path / "student", data=None, resume=False)

    assert len(list(cache.glob("teacher-*"))) == 4  # of texts and pairs, by each
    record = json.loads((tmp_path / "student" / "training.json").read_text())
    losses = [entry["loss"] for entry in record["history"] if entry["stage"] == "distil" and "loss" in entry]
    assert losses[-1] < losses[0]
    assert [teacher["name"] for teacher in record["teachers"]] == ["tiny", str(other_teacher)]
    assert len({teacher["identity"] for teacher in record["teachers"]}) == 2
    assert record["teacher"] == f"tiny + {other_teacher}"
    card = (tmp_path / "student" / "README.md").read_text()
    assert f"base_model: [tiny, {other_teacher}]" in card
    assert f"distilled from `tiny` and `{other_teacher}`, side by side, by" in card
    assert record["teacher"] in (tmp_path / "student" / "report.html").read_text()

    texts = sentences(20, seed=9)
    expected = side_by_side([TeacherEncoder(teacher, bf16=False).encode(texts) for teacher in teachers])
    seen = []

    def evaluate(encode: Encode, _: Path) -> StsScores:
        seen.append(encode(texts))
        return StsScores({}, 0.0)

    monkeypatch.setattr("train.report.teacher_scores.evaluate", evaluate)
    teacher_scores(teachers, [tiny_teacher, other_teacher], measures)
    assert np.allclose(seen[0], expected, atol=1e-5)
