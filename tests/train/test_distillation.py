from typing import Any

import pytest
import torch

from train.distillation import TERMS, Batch
from train.losses import triplet_order
from train.relational_losses import atkd, batch_keys, ckd, jsd, log_labels, log_probabilities, rrd, skew_kl, skew_rkl
from train.schedules import Distil, Objectives

WITH_A_MODEL = {"okd", "mixkd"}


def make_batch(texts: int = 5, **parameters: Any) -> Batch:
    noise = torch.Generator().manual_seed(0)
    return Batch(
        config=Distil.model_validate({"examples": 1, "texts": [{"path": "x"}], **parameters}),
        student=torch.randn(texts, 6, generator=noise),
        teacher=torch.randn(texts, 6, generator=noise),
        queue=torch.nn.functional.normalize(torch.randn(7, 6, generator=noise), dim=-1),
        temperature=torch.tensor(0.2),
    )


def test_every_objective_of_the_recipe_has_its_function() -> None:
    assert set(TERMS) | WITH_A_MODEL == set(Objectives.model_fields)
    assert not set(TERMS) & WITH_A_MODEL


def test_every_parameter_reaches_its_objective() -> None:
    batch = make_batch(label_temperature=0.3, skew=0.4, jsd_share=0.25, atkd_easy=0.6)
    keys = batch_keys(batch.teacher, batch.queue)
    student, teacher = log_probabilities(batch.student, keys, 0.2), log_labels(batch.teacher, keys, 0.3)
    expected = {
        "ckd": ckd(student),
        "rrd": rrd(student, teacher),
        "skew_kl": skew_kl(student, teacher, 0.4),
        "skew_rkl": skew_rkl(student, teacher, 0.4),
        "jsd": jsd(student, teacher, 0.25),
        "atkd": atkd(student, teacher, 0.6),
    }
    for name, value in expected.items():
        assert torch.equal(TERMS[name](batch), value), name


@pytest.mark.parametrize(("candidates", "rank"), [(1, 0), (3, 2), (11, 5)])
def test_skd_is_told_how_many_keys_to_choose(candidates: int, rank: int) -> None:
    batch = make_batch(skd_candidates=candidates, skd_rank=rank)
    whole = TERMS["skd"](make_batch(skd_candidates=1000))
    found = [TERMS["skd"](batch).item() for _ in range(10)]
    assert (len({round(value, 5) for value in found}) == 1) == (candidates == 11)
    if candidates == 11:
        assert found[0] == pytest.approx(whole.item(), rel=1e-5)


def test_triplet_order_draws_another_shift_each_time_and_repeats_with_the_random_state() -> None:
    batch = make_batch(triplet_margin=0.2)
    possible = {triplet_order(batch.student, batch.teacher, margin=0.2, shift=shift).item() for shift in range(1, 10)}
    torch.manual_seed(0)
    first = [TERMS["triplet_order"](batch).item() for _ in range(60)]
    torch.manual_seed(0)
    assert [TERMS["triplet_order"](batch).item() for _ in range(60)] == first
    assert set(first) == possible


@pytest.mark.parametrize("name", TERMS)
def test_a_batch_of_a_single_text_is_no_problem(name: str) -> None:
    batch = make_batch(texts=1)
    batch.student.requires_grad_()
    loss = TERMS[name](batch)
    assert loss.isfinite()
    assert torch.autograd.grad(loss, batch.student)[0].isfinite().all()
