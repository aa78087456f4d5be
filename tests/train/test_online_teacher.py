import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from train.online_teacher import OnlineTeacher, adapter_loss, mean_cosine
from train.relational_losses import batch_keys, ckd, log_probabilities

BATCH, DIM, RANK = 6, 8, 3


def vectors(count: int, seed: int) -> Tensor:
    return torch.randn(count, DIM, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def module() -> OnlineTeacher:
    torch.manual_seed(0)
    return OnlineTeacher(DIM, RANK)


def moved(module: OnlineTeacher) -> OnlineTeacher:
    with torch.no_grad():
        module.up.copy_(torch.randn(DIM, RANK, generator=torch.Generator().manual_seed(9)))
    return module


def fit(module: OnlineTeacher, unit: Tensor, student: Tensor, *, pull: float, anchor: float) -> None:
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.03, weight_decay=0)
    for _ in range(60):
        adapter_loss(module(unit), unit, student, pull=pull, anchor=anchor).backward()
        optimizer.step()
        optimizer.zero_grad()


def test_it_adds_a_low_rank_correction_and_normalises(module: OnlineTeacher) -> None:
    unit = F.normalize(vectors(BATCH, 1), dim=-1)
    moved(module)
    for before, after in zip(unit, module(unit), strict=True):
        by_hand = before.clone()
        for r in range(RANK):
            by_hand += module.up[:, r] * sum(module.down[d, r] * before[d] for d in range(DIM))
        assert torch.allclose(after, by_hand / by_hand.norm(), atol=1e-5)


@pytest.mark.parametrize("bf16", [False, True])
def test_at_the_start_it_is_plain_ckd_bit_for_bit(module: OnlineTeacher, *, bf16: bool) -> None:
    keys = batch_keys(vectors(BATCH, 1), F.normalize(vectors(20, 2), dim=-1))
    student = vectors(BATCH, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        adapted = module(keys)
        assert torch.equal(adapted, keys)
        assert torch.equal(ckd(log_probabilities(student, adapted, 0.05)), ckd(log_probabilities(student, keys, 0.05)))


def test_its_loss_equals_the_formula_written_out() -> None:
    adapted, unit, student = (F.normalize(vectors(BATCH, seed), dim=-1) for seed in (1, 2, 3))
    towards = sum(1 - float(a @ s) for a, s in zip(adapted, student, strict=True)) / BATCH
    away = sum(float((a - u) @ (a - u)) for a, u in zip(adapted, unit, strict=True)) / BATCH
    found = adapter_loss(adapted, unit, 4 * student, pull=0.5, anchor=2.0)
    assert found.item() == pytest.approx(0.5 * towards + 2.0 * away, rel=1e-5)


def test_its_loss_does_not_train_the_student(module: OnlineTeacher) -> None:
    unit, student = F.normalize(vectors(BATCH, 1), dim=-1), vectors(BATCH, 2).requires_grad_()
    adapter_loss(module(unit), unit, student, pull=1.0, anchor=1.0).backward()
    assert student.grad is None
    assert module.up.grad is not None
    assert module.up.grad.abs().sum() > 0


def test_the_anchor_alone_keeps_it_where_it_is(module: OnlineTeacher) -> None:
    unit = F.normalize(vectors(BATCH, 1), dim=-1)
    fit(module, unit, vectors(BATCH, 2), pull=0.0, anchor=1.0)
    assert torch.equal(module.up, torch.zeros(DIM, RANK))


def test_without_an_anchor_it_collapses_onto_a_collapsed_student_and_the_detector_shows_it(
    module: OnlineTeacher,
) -> None:
    unit = F.normalize(vectors(40, 1) + 0.7, dim=-1)  # as with real teachers, few texts are opposites
    student = torch.ones(40, DIM)
    before = mean_cosine(unit).item()
    anchored = OnlineTeacher(DIM, RANK)
    fit(module, unit, student, pull=1.0, anchor=0.0)
    fit(anchored, unit, student, pull=1.0, anchor=10.0)
    assert mean_cosine(module(unit)).item() > before + 0.3
    assert mean_cosine(anchored(unit)).item() < before + 0.1


def test_the_detector_is_the_mean_over_all_pairs() -> None:
    few = vectors(BATCH, 1)
    pairs = [(i, j) for i in range(BATCH) for j in range(BATCH) if i != j]
    expected = sum(float(F.cosine_similarity(few[i], few[j], dim=0)) for i, j in pairs) / len(pairs)
    assert mean_cosine(few).item() == pytest.approx(expected, abs=1e-5)
    assert mean_cosine(few[:1].expand(5, -1)).item() == pytest.approx(1, abs=1e-5)
    assert mean_cosine(few[:1]).item() == pytest.approx(0, abs=1e-5)
