"""Pea-KD's pretraining, adapted: the teacher's classes by brute force, the head, and whole runs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from tests.train.conftest import dying_after, sentences
from train.config import Recipe, Student
from train.corpus import TokenizedPairs, TokenizedTexts, VectorMixture
from train.errors import DataError, RecipeError
from train.pretraining import CLASSES, PretrainObjective, sort_by_teacher, triplet_features
from train.recipe import parse_recipe
from train.stages import train
from train.student import embed_rows, make_student


@pytest.fixture
def texts() -> TokenizedTexts:
    random = np.random.default_rng(0)
    lengths = random.integers(3, 12, size=72)
    return TokenizedTexts(random.integers(4, 40, lengths.sum(), dtype=np.int32), np.cumsum([0, *lengths]))


@pytest.fixture
def student(tiny_teacher: Path, tmp_path: Path) -> SentenceTransformer:
    return make_student(Student(layers=(0,)), tiny_teacher, tmp_path).eval()


@pytest.fixture
def recipe(make_recipe: Callable[..., Recipe], pairs_file: Path) -> Callable[..., Recipe]:
    def make(**student: Any) -> Recipe:
        pretrain: dict[str, Any] = {
            "examples": 96,
            "batch_size": 8,
            "evaluations": 2,
            "learning_rate": 3e-3,
            "confidence": 0.05,
            "max_length": 16,
            "pairs": [{"path": str(pairs_file), "license": "CC0"}],
        }
        small = make_recipe(student=student, distil={"examples": 64, "evaluations": 1}).model_copy(
            update={"finetune": None}
        )
        return Recipe.model_validate(small.model_dump() | {"pretrain": pretrain})

    return make


def objective_of(student: SentenceTransformer, texts: TokenizedTexts, classes: np.ndarray) -> PretrainObjective:
    return PretrainObjective(student, TokenizedPairs([texts], [3]), classes, seed=0)


def test_the_teacher_sorts_triplets_by_right_and_sure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.pretraining._SORTED_AT_ONCE", 7)
    vectors = np.random.default_rng(0).standard_normal((90, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[2] = vectors[1]  # as near as the positive is not nearer
    triplets = np.arange(90).reshape(-1, 3)
    found = sort_by_teacher(triplets, VectorMixture([vectors.astype(np.float16)]), confidence=0.3)
    assert CLASSES[found[0]] == "wrong and unsure"
    for (a, p, n), place in zip(triplets, found, strict=True):
        to_positive, to_negative = (vectors[a] @ vectors[other] for other in (p, n))
        right = "right" if to_positive > to_negative else "wrong"
        sure = "confident" if abs(to_positive - to_negative) > 0.3 else "unsure"
        assert CLASSES[place] == f"{right} and {sure}"
    assert set(found) == {0, 1, 2, 3}


def test_the_difference_of_cosines_is_linear_in_the_features() -> None:
    noise = torch.Generator().manual_seed(0)
    anchor, positive, negative = (torch.randn(5, 6, generator=noise) for _ in range(3))
    features = triplet_features(anchor, positive, negative)
    weights = torch.cat([torch.ones(6), -torch.ones(6), torch.zeros(12)]) / 6
    expected = [
        torch.cosine_similarity(a, p, dim=0) - torch.cosine_similarity(a, n, dim=0)
        for a, p, n in zip(anchor, positive, negative, strict=True)
    ]
    assert torch.allclose(features @ weights, torch.stack(expected), atol=1e-6)
    distances = 6**0.5 * (torch.nn.functional.normalize(anchor, dim=1) - torch.nn.functional.normalize(negative, dim=1))
    assert torch.allclose(features[:, 18:], distances.abs(), atol=1e-6)


def test_loss_and_accuracy_are_those_of_the_predicted_classes(
    student: SentenceTransformer, texts: TokenizedTexts
) -> None:
    classes = np.random.default_rng(0).integers(0, 4, 24)
    objective = objective_of(student, texts, classes)
    training, held_back = objective._training, objective._held_back
    assert sorted([*training, *held_back]) == list(range(24))
    assert len(held_back) == 2
    with torch.no_grad():
        every = embed_rows(student, [texts[row] for row in range(72)]).reshape(24, 3, -1)
        logits = objective.head(triplet_features(every[:, 0], every[:, 1], every[:, 2]))
    rows = np.array([4, 0, 9])
    chosen = training[rows]
    expected = [-torch.log_softmax(logits[row], dim=0)[classes[row]].item() for row in chosen]
    assert objective.loss(rows).item() == pytest.approx(sum(expected) / 3, rel=1e-4)
    hits = [int(logits[row].argmax()) == classes[row] for row in held_back]
    assert objective.accuracy(student) == pytest.approx(100 * sum(hits) / 2)
    assert objective.lengths.tolist() == [max(len(texts[3 * row + i]) for i in range(3)) for row in training]


def test_too_few_triplets_are_refused(student: SentenceTransformer, texts: TokenizedTexts) -> None:
    few = TokenizedTexts(texts.ids, texts.offsets[:28])
    with pytest.raises(DataError, match="hold 9 triplets"):
        objective_of(student, few, np.zeros(9, dtype=np.int64))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"pretrain": {"examples": 1, "pairs": [{"path": "a", "columns": ["x", "y"]}]}}, "a has no negatives"),
        ({"pretrain": {"examples": 1, "pairs": [{"path": "builtin:docstrings"}]}}, "docstrings has no negatives"),
        ({"pretrain": {"examples": 1, "pairs": [{"path": "a"}]}, "distil": None}, r"prepares for \[distil\]"),
    ],
)
def test_a_recipe_is_told_early(make_recipe: Callable[..., Recipe], changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(RecipeError, match=complaint):
        parse_recipe(make_recipe().model_dump(mode="json") | changes, source="test")


def test_the_stage_changes_where_distilling_starts_and_is_told(
    recipe: Callable[..., Recipe], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    starts = {}
    plain = recipe().model_copy(update={"pretrain": None})
    for name, one in (("plain", plain), ("pretrained", recipe())):
        train(one, tmp_path / name, data=None, resume=False)
        record = json.loads((tmp_path / name / "training.json").read_text())
        starts[name] = next(entry["score"] for entry in record["history"] if entry["stage"] == "distil")
    assert starts["plain"] != starts["pretrained"]
    history = [entry for entry in record["history"] if entry["stage"] == "pretrain"]
    assert len(history) == 3
    assert history[2]["terms"]["cross_entropy"] < history[1]["terms"]["cross_entropy"]
    assert max(entry["score"] for entry in history) > history[0]["score"]
    report = " ".join((tmp_path / "pretrained" / "report.html").read_text().split())
    assert "<h2>Stage 1: pretrain</h2> <p>Selected by accuracy × 100 on held-back triplets:" in report
    assert "<p>Selected by agreement with the teacher, Spearman × 100:" in report
    card = (tmp_path / "pretrained" / "README.md").read_text()
    assert "pretrained on what its teacher makes of labelled triplets" in card
    assert "| pretraining | CC0 |" in card
    assert (tmp_path / "pretrained" / "logs" / "pretrain").is_dir()
    assert "pretraining on 40 triplets, of which the teacher gets" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("checkpoints", [1, 2])
def test_a_run_that_died_while_pretraining_ends_with_the_same_student(
    checkpoints: int, recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    bridged = recipe(init="random", hidden_layers=1, hidden_size=16, attention_heads=2)
    with dying_after(checkpoints):
        train(bridged, tmp_path / "killed", data=None, resume=False)
    train(bridged, tmp_path / "killed", data=None, resume=True)
    train(bridged, tmp_path / "whole", data=None, resume=False)
    killed, whole = (
        SentenceTransformer(str(tmp_path / name)).encode(sentences(20, seed=9)) for name in ("killed", "whole")
    )
    assert np.array_equal(killed, whole)
