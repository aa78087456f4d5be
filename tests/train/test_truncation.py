"""Matryoshka: losses of leading dimensions against brute force, what is refused, and whole runs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

from train.config import Recipe, Student
from train.corpus import TextMixture, TokenizedPairs, TokenizedTexts, VectorMixture
from train.errors import RecipeError
from train.objectives import DistilObjective, FinetuneObjective
from train.schedules import Distil, Finetune
from train.stages import train
from train.student import embed_rows, make_student
from train.truncation import truncate

ROWS = np.array([3, 1, 4, 9, 2])
TAU = 0.2


@pytest.fixture
def texts() -> TokenizedTexts:
    random = np.random.default_rng(0)
    lengths = random.integers(3, 12, size=24)
    return TokenizedTexts(random.integers(4, 40, lengths.sum(), dtype=np.int32), np.cumsum([0, *lengths]))


@pytest.fixture
def student(tiny_teacher: Path, tmp_path: Path) -> SentenceTransformer:
    return make_student(Student(layers=(0,)), tiny_teacher, tmp_path).eval()


def teacher_vectors(dimension: int = 32) -> VectorMixture:
    return VectorMixture([np.random.default_rng(1).standard_normal((24, dimension)).astype(np.float16)])


def distil_objective(
    student: SentenceTransformer, texts: TokenizedTexts, vectors: VectorMixture, **changes: Any
) -> DistilObjective:
    config = Distil.model_validate(
        {"examples": 1, "texts": [{"path": "x"}], "queue_size": 8, "temperature": TAU} | changes
    )
    return DistilObjective(student, nn.Identity(), config, TextMixture([texts]), vectors, np.arange(24))


def vectors_of(student: SentenceTransformer, texts: TokenizedTexts, rows: np.ndarray) -> Tensor:
    return embed_rows(student, [texts[row] for row in rows]).detach()


def unit(vector: Tensor) -> Tensor:
    return vector / vector.square().sum().sqrt()


def info_nce(queries: Tensor, keys: Tensor) -> float:
    """−1/n Σ_i log softmax_j(cos(q_i, k_j) / τ)_i, one number at a time."""
    total = 0.0
    for i, query in enumerate(queries):
        weights = [torch.exp(unit(query) @ unit(key) / TAU).item() for key in keys]
        total -= np.log(weights[i] / sum(weights))
    return total / len(queries)


def test_what_is_left_is_scaled_to_unit_length() -> None:
    vectors = torch.tensor([[3.0, 4.0, 12.0], [0.0, 2.0, 1.0]])
    assert torch.allclose(truncate(vectors, 2), torch.tensor([[0.6, 0.8], [0.0, 1.0]]))


def test_distilling_is_the_mean_over_the_whole_and_each_truncation(
    student: SentenceTransformer, texts: TokenizedTexts
) -> None:
    teachers = teacher_vectors()
    objective = distil_objective(
        student, texts, teachers, dimensions=[16, 4], objectives={"ckd": 1, "cosine": 3, "mse": 2}
    )
    first, teacher = np.array([7, 8]), torch.from_numpy(teachers[ROWS])
    objective.loss(first)
    objective.after_step()
    queue = torch.from_numpy(teachers[first])
    found = objective.loss(ROWS).item()

    own = vectors_of(student, texts, ROWS)
    expected: list[float] = []
    terms: dict[str, float] = {}
    for size, suffix in ((32, ""), (16, "@16"), (4, "@4")):
        learnt, target = own[:, :size], teacher[:, :size]
        if suffix:  # whole vectors are compared as they come
            learnt, target = (torch.stack([unit(row) for row in rows]) for rows in (learnt, target))
        cosines = [(unit(a) @ unit(b)).item() for a, b in zip(learnt, target, strict=True)]
        terms |= {
            f"ckd{suffix}": info_nce(learnt, torch.cat([target, queue[:, :size]])),
            f"cosine{suffix}": 1 - sum(cosines) / len(cosines),
            f"mse{suffix}": (learnt - target).square().mean().item(),
        }
        expected.append(terms[f"ckd{suffix}"] + 3 * terms[f"cosine{suffix}"] + 2 * terms[f"mse{suffix}"])
    assert found == pytest.approx(sum(expected) / 3, rel=1e-4)
    assert {name: term.item() for name, term in objective.terms.items()} == pytest.approx(terms, rel=1e-4)


def test_finetuning_is_the_mean_over_the_whole_and_each_truncation(
    student: SentenceTransformer, texts: TokenizedTexts
) -> None:
    config = Finetune.model_validate(
        {"examples": 1, "pairs": [{"path": "x"}], "dimensions": [8], "temperature": TAU, "distil_weight": 2.0}
    )
    pairs, teachers, rows = TokenizedPairs([texts], [3]), teacher_vectors(), np.array([5, 0, 2])
    objective = FinetuneObjective(student, nn.Identity(), config, pairs, teachers)
    found = objective.loss(rows).item()

    flat = pairs.columns[rows].T.flatten()
    own, teacher = vectors_of(student, texts, flat), torch.from_numpy(teachers[flat])
    expected = []
    for size in (32, 8):
        anchors, candidates = own[:3, :size], own[3:, :size]
        cosines = [(unit(a) @ unit(b)).item() for a, b in zip(own[:, :size], teacher[:, :size], strict=True)]
        expected.append(info_nce(anchors, candidates) + 2 * (1 - sum(cosines) / len(cosines)))
    assert found == pytest.approx(sum(expected) / 2, rel=1e-4)
    assert set(objective.terms) == {"contrastive", "cosine", "contrastive@8", "cosine@8"}


def test_where_dimensions_differ_similarities_are_those_of_the_teachers_whole_vectors(
    student: SentenceTransformer, texts: TokenizedTexts
) -> None:
    teachers = teacher_vectors(dimension=48)
    objective = distil_objective(student, texts, teachers, dimensions=[4], objectives={"similarity": 1})
    found = objective.loss(ROWS).item()
    own, teacher = vectors_of(student, texts, ROWS), torch.from_numpy(teachers[ROWS])
    errors = [
        (unit(own[i, :size]) @ unit(own[j, :size]) - unit(teacher[i]) @ unit(teacher[j])).square().item()
        for size in (32, 4)
        for i in range(len(ROWS))
        for j in range(len(ROWS))
    ]
    assert found == pytest.approx(sum(errors) / len(errors), rel=1e-4)


def test_without_dimensions_nothing_changes(student: SentenceTransformer, texts: TokenizedTexts) -> None:
    plain, truncating = (
        distil_objective(student, texts, teacher_vectors(), dimensions=dimensions) for dimensions in ([], [8])
    )
    truncating.loss(ROWS)
    loss = plain.loss(ROWS)
    assert set(plain.terms) == {"ckd", "cosine"}
    assert torch.equal(loss.detach(), plain.terms["ckd"] + 10 * plain.terms["cosine"])
    assert all(torch.equal(plain.terms[name], truncating.terms[name]) for name in plain.terms)


@pytest.mark.parametrize(
    ("dimension", "changes", "complaint"),
    [
        (32, {"dimensions": [8, 32]}, "32 is no truncation of the student's 32 dimensions"),
        (48, {"dimensions": [8]}, "with ckd, cosine: the student has 32 dimensions, the teacher 48"),
    ],
)
def test_dimensions_that_make_no_sense_are_refused(
    student: SentenceTransformer, texts: TokenizedTexts, dimension: int, changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(RecipeError, match=complaint):
        distil_objective(student, texts, teacher_vectors(dimension), **changes)


def test_pairs_cannot_be_held_to_dimensions_the_teacher_does_not_have(
    student: SentenceTransformer, texts: TokenizedTexts
) -> None:
    config = Finetune.model_validate({"examples": 1, "pairs": [{"path": "x"}], "dimensions": [8], "distil_weight": 1})
    with pytest.raises(RecipeError, match="distil_weight: the student has 32 dimensions, the teacher 48"):
        FinetuneObjective(student, nn.Linear(32, 48), config, TokenizedPairs([texts], [3]), teacher_vectors(48))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"dimensions": [8, 8]}, "names one twice"),
        ({"dimensions": [0]}, "greater than or equal to 1"),
        ({"dimensions": [8], "objectives": {"okd": 1}}, "okd and mixkd know whole vectors only"),
    ],
)
def test_a_recipe_is_told_early(make_recipe: Callable[..., Recipe], changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(RecipeError, match=complaint):
        make_recipe(distil=changes)


def agreement(student: Path, teacher: Path, texts: list[str], dimension: int) -> float:
    """Mean cosine of the leading dimensions."""
    own, target = (
        np.asarray(SentenceTransformer(str(folder), truncate_dim=dimension).encode(texts, normalize_embeddings=True))
        for folder in (student, teacher)
    )
    return float((own * target).sum(axis=1).mean())


def test_a_student_trained_for_few_dimensions_is_better_in_them(
    make_recipe: Callable[..., Recipe], tiny_teacher: Path, texts_file: Path, tmp_path: Path
) -> None:
    fresh = {"init": "random", "hidden_layers": 1, "hidden_size": 32, "attention_heads": 4}
    held = texts_file.read_text().splitlines()
    found = {}
    for name, dimensions in (("plain", []), ("matryoshka", [4])):
        distil = {"objectives": {"cosine": 1}, "learning_rate": 3e-3, "dimensions": dimensions}
        recipe = make_recipe(student=fresh, distil=distil, finetune={"dimensions": dimensions})
        train(recipe, tmp_path / name, data=None, resume=False)
        found[name] = agreement(tmp_path / name, tiny_teacher, held, 4)
    assert found["matryoshka"] > found["plain"]
    record = json.loads((tmp_path / "matryoshka" / "training.json").read_text())
    assert record["history"][1]["terms"].keys() == {"cosine", "cosine@4"}


def test_a_small_student_of_a_large_teacher_learns_similarities(
    make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    small = {"init": "random", "hidden_layers": 1, "hidden_size": 16, "attention_heads": 2}
    distil = {"objectives": {"similarity": 1, "triplet_order": 1}, "learning_rate": 3e-3, "dimensions": [4]}
    train(
        make_recipe(student=small, distil=distil, finetune={"distil_weight": 1.0}),
        tmp_path / "student",
        data=None,
        resume=False,
    )
    history = json.loads((tmp_path / "student" / "training.json").read_text())["history"]
    terms = [entry["terms"] for entry in history if entry["stage"] == "distil" and "terms" in entry]
    assert all(terms[-1][name] < terms[0][name] for name in ("similarity", "similarity@4"))
