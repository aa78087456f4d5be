import math

import pytest
import torch
from torch import Tensor

from train.losses import ckd, contrastive, cosine_distance, mse

BATCH, DIM, QUEUE = 5, 7, 11


@pytest.fixture
def student() -> Tensor:
    return torch.randn(BATCH, DIM, generator=torch.Generator().manual_seed(1), requires_grad=True)


@pytest.fixture
def teacher() -> Tensor:
    return torch.randn(BATCH, DIM, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def queue() -> Tensor:
    vectors = torch.randn(QUEUE, DIM, generator=torch.Generator().manual_seed(3))
    return torch.nn.functional.normalize(vectors, dim=-1)


def cosine(left: Tensor, right: Tensor) -> float:
    return float((left @ right / (left.norm() * right.norm())).item())


def test_ckd_equals_the_formula_written_out(student: Tensor, teacher: Tensor, queue: Tensor) -> None:
    temperature = 0.3
    total = 0.0
    for i in range(BATCH):
        positive = math.exp(cosine(student[i], teacher[i]) / temperature)
        batch = sum(math.exp(cosine(student[i], teacher[j]) / temperature) for j in range(BATCH))
        older = sum(math.exp(cosine(student[i], queue[q]) / temperature) for q in range(QUEUE))
        total -= math.log(positive / (batch + older)) / BATCH
    assert ckd(student, teacher, queue, temperature).item() == pytest.approx(total, rel=1e-5)


def test_ckd_without_anything_to_tell_apart_is_zero(student: Tensor, teacher: Tensor) -> None:
    assert ckd(student[:1], teacher[:1], teacher[:0], 0.05).item() == 0.0


def test_ckd_of_a_hot_temperature_is_the_entropy_of_chance(student: Tensor, teacher: Tensor, queue: Tensor) -> None:
    assert ckd(student, teacher, queue, 1e6).item() == pytest.approx(math.log(BATCH + QUEUE), abs=1e-4)


def test_ckd_of_a_perfect_student_vanishes_as_the_temperature_falls(teacher: Tensor, queue: Tensor) -> None:
    losses = [ckd(teacher, teacher, queue, temperature).item() for temperature in (0.5, 0.1, 0.01)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 1e-4


def test_ckd_ignores_the_length_of_vectors(student: Tensor, teacher: Tensor, queue: Tensor) -> None:
    scaled = ckd(3 * student, 0.2 * teacher, queue, 0.1)
    assert scaled.item() == pytest.approx(ckd(student, teacher, queue, 0.1).item(), rel=1e-5)


def test_ckd_trains_the_student_and_a_learnable_temperature_only(student: Tensor, queue: Tensor) -> None:
    temperature = torch.tensor(0.2, requires_grad=True)
    ckd(student, torch.ones(BATCH, DIM), queue, temperature).backward()
    assert student.grad is not None
    assert student.grad.abs().sum() > 0
    assert temperature.grad is not None
    assert temperature.grad != 0


def test_a_negative_in_the_queue_raises_the_loss(student: Tensor, teacher: Tensor, queue: Tensor) -> None:
    assert ckd(student, teacher, queue, 0.1) > ckd(student, teacher, queue[:0], 0.1)


def test_cosine_distance_counts_from_zero_to_two(teacher: Tensor) -> None:
    assert cosine_distance(5 * teacher, teacher).item() == pytest.approx(0, abs=1e-6)
    assert cosine_distance(-teacher, teacher).item() == pytest.approx(2, abs=1e-6)


def test_mse_is_the_mean_over_texts_and_components(student: Tensor, teacher: Tensor) -> None:
    expected = sum((student[i, d].item() - teacher[i, d].item()) ** 2 for i in range(BATCH) for d in range(DIM)) / (
        BATCH * DIM
    )
    assert mse(student, teacher).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("negatives", [0, 3, BATCH])
def test_contrastive_equals_the_formula_written_out(
    student: Tensor, teacher: Tensor, queue: Tensor, negatives: int
) -> None:
    temperature, hard = 0.2, queue[:negatives]
    total = 0.0
    for i in range(BATCH):
        positive = math.exp(cosine(student[i], teacher[i]) / temperature)
        others = sum(math.exp(cosine(student[i], key) / temperature) for key in (*teacher, *hard))
        total -= math.log(positive / others) / BATCH
    assert contrastive(student, teacher, hard, temperature).item() == pytest.approx(total, rel=1e-5)
