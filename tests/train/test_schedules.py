from itertools import pairwise
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.schedules import Schedule


@pytest.mark.parametrize("decay", ["cosine", "linear"])
def test_the_rate_rises_then_falls_to_zero(decay: Literal["cosine", "linear"]) -> None:
    schedule = Schedule(examples=1, decay=decay, warmup=0.1, learning_rate=1.0)
    rates = [schedule.rate(done / 100) for done in range(101)]
    assert rates[0] == 0
    assert rates[-1] == pytest.approx(0, abs=1e-9)
    assert max(rates) == rates[10] == pytest.approx(1.0)
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_without_a_warm_up_it_starts_at_its_peak() -> None:
    assert Schedule(examples=1, warmup=0.0, learning_rate=1.0).rate(0.0) == pytest.approx(1.0)


@given(st.data(), st.integers(1, 500), st.integers(1, 20))
def test_evaluations_are_spread_evenly_and_end_with_the_stage(data: st.DataObject, examples: int, wanted: int) -> None:
    schedule = Schedule(examples=examples, evaluations=wanted, learning_rate=1.0)
    inner = data.draw(st.sets(st.integers(1, examples), max_size=examples))
    steps = list(pairwise(sorted({0, *inner, examples})))
    due = [after for before, after in steps if schedule.evaluates(before, after)]
    assert due[-1] == examples
    assert len(due) <= wanted
    if len(steps) == examples:  # a step for each example
        assert len(due) == min(wanted, examples)
    # In each of as many equal parts of the stage as there are evaluations one comes due.
    assert all(any(after * wanted >= part * examples for after in due) for part in range(1, wanted + 1))
