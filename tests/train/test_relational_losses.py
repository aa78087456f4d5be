import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from train.relational_losses import (
    atkd,
    batch_keys,
    ckd,
    jsd,
    log_labels,
    log_probabilities,
    propose_and_verify,
    rrd,
    skd,
    skew_kl,
    skew_rkl,
    split_kl,
)

BATCH, DIM, QUEUE = 5, 7, 11
KEYS = BATCH + QUEUE

SOFT: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "rrd": rrd,
    "skew_kl": partial(skew_kl, skew=0.1),
    "skew_rkl": partial(skew_rkl, skew=0.1),
    "jsd": partial(jsd, share=0.5),
    "atkd": partial(atkd, easy=0.2),
    "skd": partial(skd, candidates=4, rank=3),
}


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


@pytest.fixture
def keys(teacher: Tensor, queue: Tensor) -> Tensor:
    return batch_keys(teacher, queue)


@pytest.fixture
def log_student(student: Tensor, keys: Tensor) -> Tensor:
    return log_probabilities(student, keys, 0.2)


@pytest.fixture
def log_teacher(teacher: Tensor, keys: Tensor) -> Tensor:
    return log_labels(teacher, keys, 0.3)


def distribution(vectors: Tensor, teacher: Tensor, queue: Tensor, temperature: float) -> list[list[float]]:
    """p_i(j) written out, keys in the order batch, queue."""
    rows = []
    for vector in vectors:
        cosines = [float(vector @ key / (vector.norm() * key.norm())) for key in (*teacher, *queue)]
        weights = [math.exp(cosine / temperature) for cosine in cosines]
        rows.append([weight / sum(weights) for weight in weights])
    return rows


@pytest.fixture
def p(teacher: Tensor, queue: Tensor) -> list[list[float]]:
    """The teacher's distribution."""
    return distribution(teacher, teacher, queue, 0.3)


@pytest.fixture
def q(student: Tensor, teacher: Tensor, queue: Tensor) -> list[list[float]]:
    """The student's."""
    return distribution(student.detach(), teacher, queue, 0.2)


def kl(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def mix(share: float, p: list[float], q: list[float]) -> list[float]:
    return [share * a + (1 - share) * b for a, b in zip(p, q, strict=True)]


def without(index: int, p: list[float]) -> list[float]:
    rest = p[:index] + p[index + 1 :]
    return [value / sum(rest) for value in rest]


def bernoulli(index: int, p: list[float]) -> list[float]:
    return [p[index], 1 - p[index]]


def gradient(loss: Tensor, inputs: Tensor) -> Tensor:
    return torch.autograd.grad(loss, inputs)[0]


# The kernel


def test_own_keys_come_first_and_all_are_unit_vectors(keys: Tensor, teacher: Tensor, queue: Tensor) -> None:
    assert keys.shape == (KEYS, DIM)
    assert torch.allclose(keys.norm(dim=-1), torch.ones(KEYS))
    assert torch.allclose((keys[:BATCH] * teacher).sum(-1), teacher.norm(dim=-1))
    assert torch.equal(keys[BATCH:], queue)


def test_the_kernel_is_a_softmax_of_cosines(
    log_student: Tensor, log_teacher: Tensor, p: list[list[float]], q: list[list[float]]
) -> None:
    assert torch.allclose(log_student.exp(), torch.tensor(q), atol=1e-6)
    assert torch.allclose(log_teacher.exp(), torch.tensor(p), atol=1e-6)


def test_labels_have_no_gradient_and_full_precision_where_all_else_is_bfloat16(teacher: Tensor, queue: Tensor) -> None:
    teacher.requires_grad_()
    plain = log_labels(teacher, batch_keys(teacher, queue), 0.01)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        lowered = log_labels(teacher, batch_keys(teacher, queue), 0.01)
        student = log_probabilities(teacher, batch_keys(teacher, queue), 0.01)
    assert torch.equal(plain, lowered)
    assert not torch.equal(plain, student)  # or the line above would prove nothing
    assert not lowered.requires_grad
    assert student.dtype == torch.float32


# ckd


def test_ckd_equals_the_formula_written_out(log_student: Tensor, q: list[list[float]]) -> None:
    assert ckd(log_student).item() == pytest.approx(-mean([math.log(q[i][i]) for i in range(BATCH)]), rel=1e-5)


def test_ckd_is_cross_entropy_bit_for_bit(student: Tensor, keys: Tensor, log_student: Tensor) -> None:
    logits = torch.nn.functional.normalize(student, dim=-1) @ keys.T / 0.2
    assert torch.equal(ckd(log_student), torch.nn.functional.cross_entropy(logits, torch.arange(BATCH)))


def test_ckd_of_a_hot_temperature_is_the_entropy_of_chance(student: Tensor, keys: Tensor) -> None:
    assert ckd(log_probabilities(student, keys, 1e6)).item() == pytest.approx(math.log(KEYS), abs=1e-4)


def test_ckd_of_a_perfect_student_vanishes_as_the_temperature_falls(teacher: Tensor, keys: Tensor) -> None:
    losses = [ckd(log_probabilities(teacher, keys, temperature)).item() for temperature in (0.5, 0.1, 0.01)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 1e-4


def test_ckd_ignores_the_length_of_vectors(student: Tensor, teacher: Tensor, queue: Tensor, keys: Tensor) -> None:
    scaled = ckd(log_probabilities(3 * student, batch_keys(0.2 * teacher, queue), 0.1))
    assert scaled.item() == pytest.approx(ckd(log_probabilities(student, keys, 0.1)).item(), rel=1e-5)


def test_ckd_trains_the_student_and_a_learnable_temperature(student: Tensor, keys: Tensor) -> None:
    temperature = torch.tensor(0.2, requires_grad=True)
    ckd(log_probabilities(student, keys, temperature)).backward()
    assert student.grad is not None
    assert student.grad.abs().sum() > 0
    assert temperature.grad is not None
    assert temperature.grad != 0


def test_a_negative_in_the_queue_raises_the_loss(student: Tensor, teacher: Tensor, keys: Tensor, queue: Tensor) -> None:
    alone = log_probabilities(student, batch_keys(teacher, queue[:0]), 0.1)
    assert ckd(log_probabilities(student, keys, 0.1)) > ckd(alone)


# What all have in common


@pytest.mark.parametrize("name", SOFT)
def test_every_objective_trains_the_student(
    name: str, student: Tensor, log_student: Tensor, log_teacher: Tensor
) -> None:
    found = gradient(SOFT[name](log_student, log_teacher), student)
    assert found.isfinite().all()
    assert found.abs().sum() > 0


@pytest.mark.parametrize("name", SOFT)
def test_a_student_like_its_teacher_has_no_gradient(name: str, teacher: Tensor, keys: Tensor) -> None:
    student = teacher.clone().requires_grad_()
    loss = SOFT[name](log_probabilities(student, keys, 0.3), log_labels(teacher, keys, 0.3))
    assert gradient(loss, student).abs().max() < 1e-6
    if name != "rrd":
        assert loss.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", SOFT)
def test_a_student_sure_of_the_wrong_key_has_a_finite_gradient(name: str, log_teacher: Tensor) -> None:
    logits = torch.zeros(BATCH, KEYS)
    logits[:, -1] = 1e4
    logits.requires_grad_()
    loss = SOFT[name](logits.log_softmax(-1), log_teacher)
    assert loss.isfinite()
    assert gradient(loss, logits).isfinite().all()


@pytest.mark.parametrize("name", SOFT)
def test_a_teacher_sure_of_the_own_key_gives_a_finite_gradient(
    name: str, student: Tensor, log_student: Tensor, teacher: Tensor, keys: Tensor
) -> None:
    loss = SOFT[name](log_student, log_labels(teacher, keys, 1e-3))
    assert loss.isfinite()
    assert gradient(loss, student).isfinite().all()


@pytest.mark.parametrize("name", SOFT)
def test_a_text_with_no_key_but_its_own_costs_nothing(name: str) -> None:
    logits = torch.ones(1, 1, requires_grad=True)
    loss = SOFT[name](logits.log_softmax(-1), torch.zeros(1, 1))
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert gradient(loss, logits).tolist() == [[0.0]]
    assert ckd(logits.log_softmax(-1)).item() == 0


@pytest.mark.parametrize("name", [name for name in SOFT if name != "skd"])
def test_the_order_of_the_queue_does_not_matter(name: str, log_student: Tensor, log_teacher: Tensor) -> None:
    order = torch.cat([torch.arange(BATCH), BATCH + torch.randperm(QUEUE)])
    shuffled = SOFT[name](log_student[:, order], log_teacher[:, order])
    assert shuffled.item() == pytest.approx(SOFT[name](log_student, log_teacher).item(), rel=1e-5)


# rrd


def test_rrd_equals_the_formula_written_out(
    log_student: Tensor, log_teacher: Tensor, p: list[list[float]], q: list[list[float]]
) -> None:
    expected = -mean([sum(p[i][j] * math.log(q[i][j]) for j in range(KEYS)) for i in range(BATCH)])
    assert rrd(log_student, log_teacher).item() == pytest.approx(expected, rel=1e-5)


def test_rrd_of_hard_labels_is_ckd(log_student: Tensor, teacher: Tensor, keys: Tensor) -> None:
    hard = rrd(log_student, log_labels(teacher, keys, 1e-4))
    assert abs(hard.item() - ckd(log_student).item()) < 1e-5


def test_rrd_of_a_perfect_student_is_the_teachers_entropy(log_teacher: Tensor, p: list[list[float]]) -> None:
    entropy = -mean([sum(value * math.log(value) for value in row) for row in p])
    assert rrd(log_teacher, log_teacher).item() == pytest.approx(entropy, rel=1e-5)


def test_rrd_has_the_gradient_of_kl(student: Tensor, log_student: Tensor, log_teacher: Tensor) -> None:
    divergence = skew_kl(log_student, log_teacher, 0)
    assert torch.allclose(
        torch.autograd.grad(rrd(log_student, log_teacher), student, retain_graph=True)[0],
        gradient(divergence, student),
        atol=1e-6,
    )


# skew_kl, skew_rkl, jsd


@pytest.mark.parametrize("skew", [0.0, 0.1, 0.7])
def test_skewed_divergences_equal_the_formulas_written_out(
    log_student: Tensor, log_teacher: Tensor, p: list[list[float]], q: list[list[float]], skew: float
) -> None:
    forward = mean([kl(p[i], mix(skew, p[i], q[i])) for i in range(BATCH)])
    reverse = mean([kl(q[i], mix(skew, q[i], p[i])) for i in range(BATCH)])
    assert skew_kl(log_student, log_teacher, skew).item() == pytest.approx(forward, rel=1e-4)
    assert skew_rkl(log_student, log_teacher, skew).item() == pytest.approx(reverse, rel=1e-4)


def test_a_vanishing_skew_approaches_plain_kl(log_student: Tensor, log_teacher: Tensor) -> None:
    for loss in (skew_kl, skew_rkl):
        assert loss(log_student, log_teacher, 1e-6).item() == pytest.approx(
            loss(log_student, log_teacher, 0).item(), rel=1e-4
        )


@pytest.mark.parametrize("skew", [0.01, 0.1, 0.5])
def test_a_skewed_divergence_is_bounded(log_teacher: Tensor, skew: float) -> None:
    logits = torch.zeros(BATCH, KEYS)
    logits[:, -1] = 1e4
    wrong = logits.log_softmax(-1)
    for loss in (skew_kl, skew_rkl):
        assert 0 < loss(wrong, log_teacher, skew).item() <= -math.log(skew) + 1e-5


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_jsd_equals_the_formula_written_out(
    log_student: Tensor, log_teacher: Tensor, p: list[list[float]], q: list[list[float]], share: float
) -> None:
    middle = [mix(share, q[i], p[i]) for i in range(BATCH)]
    expected = mean([(1 - share) * kl(p[i], middle[i]) + share * kl(q[i], middle[i]) for i in range(BATCH)])
    assert jsd(log_student, log_teacher, share).item() == pytest.approx(expected, rel=1e-4)


def test_jsd_of_equal_shares_is_symmetric_and_at_most_log_2(log_student: Tensor, log_teacher: Tensor) -> None:
    forth = jsd(log_student, log_teacher, 0.5).item()
    assert forth == pytest.approx(jsd(log_teacher, log_student, 0.5).item(), rel=1e-5)
    assert 0 < forth < math.log(2)


# atkd


def test_kl_splits_into_target_and_neighbours(log_student: Tensor, log_teacher: Tensor) -> None:
    target, others, uncertainty = split_kl(log_student, log_teacher)
    whole = (log_teacher.exp() * (log_teacher - log_student)).sum(-1)
    assert torch.allclose(target + uncertainty * others, whole, atol=1e-6)


def test_the_parts_of_kl_equal_the_formulas_written_out(
    log_student: Tensor, log_teacher: Tensor, p: list[list[float]], q: list[list[float]]
) -> None:
    target, others, uncertainty = split_kl(log_student, log_teacher)
    for i in range(BATCH):
        assert target[i].item() == pytest.approx(kl(bernoulli(i, p[i]), bernoulli(i, q[i])), rel=1e-4)
        assert others[i].item() == pytest.approx(kl(without(i, p[i]), without(i, q[i])), rel=1e-4)
        assert uncertainty[i].item() == pytest.approx(1 - p[i][i], rel=1e-4)


def test_atkd_equals_the_formula_written_out(
    log_student: Tensor, log_teacher: Tensor, p: list[list[float]], q: list[list[float]]
) -> None:
    median = sorted(1 - p[i][i] for i in range(BATCH))[(BATCH - 1) // 2]
    easy, hard = [], []
    for i in range(BATCH):
        neighbours = kl(without(i, p[i]), without(i, q[i]))
        if 1 - p[i][i] < median - 1e-9:
            easy.append(neighbours)
        else:
            hard.append(kl(bernoulli(i, p[i]), bernoulli(i, q[i])) + neighbours)
    assert len(easy) == BATCH // 2
    assert atkd(log_student, log_teacher, 0.2).item() == pytest.approx(0.2 * mean(easy) + 0.8 * mean(hard), rel=1e-4)


@pytest.mark.parametrize(("batch", "easy"), [(2, 0), (4, 1), (5, 2), (6, 2)])
def test_only_texts_strictly_below_the_lower_median_are_easy(batch: int, easy: int) -> None:
    # An easy text counts its neighbours only, so weighing easy texts alone shows how many there are.
    log_teacher = torch.stack([torch.arange(6.0).roll(i) + 2 * i * torch.eye(6)[i] for i in range(batch)])
    log_teacher = log_teacher.log_softmax(-1)
    student = torch.zeros(batch, 6).log_softmax(-1)
    _, others, uncertainty = split_kl(student, log_teacher)
    below = sorted(range(batch), key=lambda i: uncertainty[i].item())[:easy]
    expected = others[below].mean().item() if easy else 0.0
    assert atkd(student, log_teacher, 1.0).item() == pytest.approx(expected, rel=1e-5)


def test_ties_are_hard(log_student: Tensor) -> None:
    equals = torch.full((BATCH, KEYS), 0.0)
    equals[:, :BATCH] += torch.eye(BATCH)
    log_teacher = equals.log_softmax(-1)
    target, others, _ = split_kl(log_student, log_teacher)
    assert 2 * atkd(log_student, log_teacher, 0.5).item() == pytest.approx((target + others).mean().item(), rel=1e-5)


# skd


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def choose(log_student: Tensor, log_teacher: Tensor, candidates: int, rank: int, seed: int = 0) -> list[set[int]]:
    chosen = propose_and_verify(log_student, log_teacher, candidates=candidates, rank=rank, generator=generator(seed))
    assert chosen.shape == (len(log_student), candidates + 1)
    assert chosen[:, 0].tolist() == list(range(len(log_student)))
    sets = [set(row) for row in chosen.tolist()]
    assert all(len(row) == candidates + 1 for row in sets)  # distinct, and the own key only once
    return sets


def concentrated(texts: int, keys: int, favourites: list[int]) -> Tensor:
    """A distribution that is all but certain to draw `favourites`."""
    logits = torch.arange(float(keys)).repeat(texts, 1) / keys
    logits[:, favourites] += 100
    return logits.log_softmax(-1)


def test_a_teacher_that_accepts_everything_leaves_the_proposals() -> None:
    student, teacher = concentrated(3, 12, [4, 7, 9]), concentrated(3, 12, [5, 6, 8])
    for rank in (11, 100):
        for i, row in enumerate(choose(student, teacher, 3, rank)):
            assert row == {i, 4, 7, 9}


def test_a_teacher_that_accepts_nothing_draws_all_keys_itself() -> None:
    student, teacher = concentrated(3, 12, [4, 7, 9]), concentrated(3, 12, [5, 6, 8])
    for i, row in enumerate(choose(student, teacher, 3, 0)):
        assert row == {i, 5, 6, 8}


def test_only_proposals_of_a_low_rank_stay() -> None:
    student, teacher = concentrated(3, 12, [4, 7, 9]), concentrated(3, 12, [7, 6, 8])
    for i, row in enumerate(choose(student, teacher, 3, 3)):
        assert row == {i, 7, 6, 8}  # 4 and 9 are replaced
    for i, row in enumerate(choose(student, teacher, 2, 3)):
        assert {i} < row < {i, 4, 7, 9, 6, 8}
        assert not row & {4, 9}


def test_the_rank_counts_the_other_keys_only(log_teacher: Tensor) -> None:
    nearest = log_teacher.clone().masked_fill(torch.eye(BATCH, KEYS, dtype=torch.bool), -math.inf).argmax(-1)
    student = torch.zeros(BATCH, KEYS).scatter(1, nearest.unsqueeze(1), 100.0).log_softmax(-1)
    expected = [{i, key} for i, key in enumerate(nearest.tolist())]
    assert choose(student, log_teacher, 1, 1) == expected
    assert choose(student, log_teacher, 1, 0) != expected  # a draw, or the line above would prove nothing


def test_skd_equals_the_formula_on_the_chosen_keys(
    log_student: Tensor, log_teacher: Tensor, p: list[list[float]], q: list[list[float]]
) -> None:
    expected = []
    for i, row in enumerate(choose(log_student, log_teacher, 4, 3, seed=5)):
        left, right = ([values[i][j] for j in sorted(row)] for values in (p, q))
        expected.append(kl([value / sum(left) for value in left], [value / sum(right) for value in right]))
    found = skd(log_student, log_teacher, candidates=4, rank=3, generator=generator(5))
    assert found.item() == pytest.approx(mean(expected), rel=1e-4)


@pytest.mark.parametrize("rank", [0, 3, KEYS])
@pytest.mark.parametrize("candidates", [KEYS - 1, 10 * KEYS])
def test_skd_on_all_keys_is_kl(log_student: Tensor, log_teacher: Tensor, rank: int, candidates: int) -> None:
    found = skd(log_student, log_teacher, candidates=candidates, rank=rank)
    assert found.item() == pytest.approx(skew_kl(log_student, log_teacher, 0).item(), abs=1e-6)


def test_no_gradient_flows_through_choosing(student: Tensor, log_student: Tensor, log_teacher: Tensor) -> None:
    chosen = propose_and_verify(log_student, log_teacher, candidates=4, rank=3, generator=generator(5))
    assert not chosen.requires_grad
    fixed = [log.gather(1, chosen).log_softmax(-1) for log in (log_student, log_teacher)]
    by_hand = (fixed[1].exp() * (fixed[1] - fixed[0])).sum(-1).mean()
    found = skd(log_student, log_teacher, candidates=4, rank=3, generator=generator(5))
    expected = torch.autograd.grad(by_hand, student, retain_graph=True)[0]
    assert torch.equal(gradient(found, student), expected)


def test_draws_repeat_with_their_generator_or_the_global_state(log_student: Tensor, log_teacher: Tensor) -> None:
    losses = [skd(log_student, log_teacher, candidates=3, rank=2, generator=generator(seed)) for seed in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]
    state = torch.get_rng_state()
    first = skd(log_student, log_teacher, candidates=3, rank=2)
    torch.set_rng_state(state)
    assert skd(log_student, log_teacher, candidates=3, rank=2) == first


def test_proposals_follow_the_students_distribution() -> None:
    texts = 2000
    student = torch.zeros(texts, texts + 3)
    student[:, :texts] = -100  # the queue's three keys are all that counts
    student[:, texts:] = torch.tensor([2.0, 1.0, 0.0])
    log_student = student.log_softmax(-1)
    chosen = propose_and_verify(log_student, log_student, candidates=1, rank=2 * texts, generator=generator(3))
    shares = torch.bincount(chosen[:, 1] - texts, minlength=3) / texts
    assert torch.allclose(shares, torch.tensor([2.0, 1.0, 0.0]).softmax(-1), atol=0.04)
