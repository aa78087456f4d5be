import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from train.losses import comparative, contrastive, cosine_distance, mse, similarity, triplet_order

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


def test_cosine_distance_counts_from_zero_to_two(teacher: Tensor) -> None:
    assert cosine_distance(5 * teacher, teacher).item() == pytest.approx(0, abs=1e-6)
    assert cosine_distance(-teacher, teacher).item() == pytest.approx(2, abs=1e-6)


def test_mse_is_the_mean_over_texts_and_components(student: Tensor, teacher: Tensor) -> None:
    expected = sum((student[i, d].item() - teacher[i, d].item()) ** 2 for i in range(BATCH) for d in range(DIM)) / (
        BATCH * DIM
    )
    assert mse(student, teacher).item() == pytest.approx(expected, rel=1e-5)


def test_comparative_equals_the_formula_over_all_pairs(student: Tensor, teacher: Tensor) -> None:
    total = 0.0
    for i, j, d in itertools.product(range(BATCH), range(BATCH), range(DIM)):
        learnt = student[i, d].item() - student[j, d].item()
        total += (learnt - (teacher[i, d].item() - teacher[j, d].item())) ** 2
    assert comparative(student, teacher).item() == pytest.approx(total / (BATCH * BATCH * DIM), rel=1e-5)


def test_comparative_is_blind_to_a_constant_offset(student: Tensor, teacher: Tensor) -> None:
    moved = comparative(student + torch.arange(DIM), teacher)
    assert moved.item() == pytest.approx(comparative(student, teacher).item(), rel=1e-5)
    assert comparative(teacher + 1, teacher).item() == pytest.approx(0, abs=1e-9)
    assert mse(teacher + 1, teacher).item() == pytest.approx(1)


def test_similarity_equals_the_formula_written_out(student: Tensor, teacher: Tensor) -> None:
    pairs = list(itertools.product(range(BATCH), range(BATCH)))
    total = sum((cosine(student[i], student[j]) - cosine(teacher[i], teacher[j])) ** 2 for i, j in pairs)
    assert similarity(student, teacher).item() == pytest.approx(total / len(pairs), rel=1e-4)


def test_similarity_is_blind_to_rotation_length_and_dimension(teacher: Tensor) -> None:
    rotation = torch.linalg.qr(torch.randn(DIM, DIM, generator=torch.Generator().manual_seed(4))).Q
    assert similarity(3 * teacher @ rotation, teacher).item() == pytest.approx(0, abs=1e-10)
    wider = torch.nn.functional.pad(teacher, (0, 2))
    assert similarity(wider, teacher).item() == pytest.approx(0, abs=1e-10)


def test_similarities_are_not_rounded_where_all_else_is_bfloat16(student: Tensor, teacher: Tensor) -> None:
    plain = similarity(student, teacher)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(similarity(student, teacher), plain)


PAIRS = list(itertools.combinations(range(BATCH), 2))


def test_the_shifts_of_triplet_order_make_up_the_formula_over_all_comparisons(student: Tensor, teacher: Tensor) -> None:
    total = 0.0
    for (i, j), (m, n) in itertools.permutations(PAIRS, 2):
        if cosine(teacher[i], teacher[j]) > cosine(teacher[m], teacher[n]):
            total += max(0.0, cosine(student[m], student[n]) - cosine(student[i], student[j]) + 0.1)
    comparisons = len(PAIRS) * (len(PAIRS) - 1) / 2
    shifts = range(1, len(PAIRS))
    found = [triplet_order(student, teacher, margin=0.1, shift=shift).item() for shift in shifts]
    assert sum(found) / len(found) == pytest.approx(total / comparisons, rel=1e-4)


def test_triplet_order_of_a_perfect_student_is_its_margin_at_most(teacher: Tensor) -> None:
    assert triplet_order(2 * teacher, teacher, margin=0.0, shift=1).item() == 0
    assert 0 < triplet_order(2 * teacher, teacher, margin=0.5, shift=1).item() <= 0.5


def test_comparisons_the_teacher_cannot_decide_cost_nothing(student: Tensor) -> None:
    assert triplet_order(student, torch.eye(BATCH), margin=0.5, shift=1).item() == 0


@pytest.mark.parametrize("batch", [1, 2])
def test_batches_too_small_to_compare_cost_nothing_and_have_a_finite_gradient(
    student: Tensor, teacher: Tensor, batch: int
) -> None:
    few = student[:batch]
    losses: dict[str, Callable[[], Tensor]] = {
        "comparative": lambda: comparative(few[:1], teacher[:1]),
        "similarity": lambda: similarity(few[:1], teacher[:1]),
        "triplet_order": lambda: triplet_order(few, teacher[:batch], margin=0.015, shift=1),
    }
    for name, loss in losses.items():
        assert loss().item() == pytest.approx(0, abs=1e-9), name
        assert torch.autograd.grad(loss(), student)[0].isfinite().all(), name


@pytest.mark.parametrize("loss", [cosine_distance, mse, comparative, similarity])
def test_every_objective_trains_the_student(
    loss: Callable[[Tensor, Tensor], Tensor], student: Tensor, teacher: Tensor
) -> None:
    assert torch.autograd.grad(loss(student, teacher), student)[0].abs().sum() > 0
    assert loss(teacher, teacher).item() == pytest.approx(0, abs=1e-6)


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
