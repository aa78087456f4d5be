import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.arrivals import Arrivals, spread
from loadtest.demand import Demand, ramp, steady, step

rates = st.floats(0.5, 300)


def rate_between(demand: Demand, start: float, end: float) -> float:
    times = spread(demand, "constant", seed=0).times
    return float(((times >= start) & (times < end)).sum() / (end - start))


def test_steps_are_level_and_equally_long() -> None:
    demand = step(100, 300, steps=3, warmup=1, seconds=6)
    measured = [rate_between(demand, start, end) for start, end in ((0, 1), (1, 3), (3, 5), (5, 7))]
    assert measured == pytest.approx([100, 100, 200, 300], abs=1)


def test_a_ramp_is_low_while_warming_up_and_then_rises_evenly() -> None:
    demand = ramp(100, 500, warmup=2, seconds=4)
    measured = [rate_between(demand, start, start + 1) for start in range(6)]
    assert measured == pytest.approx([100, 100, 150, 250, 350, 450], abs=2)


@given(low=rates, high=rates, warmup=st.floats(0, 3), seconds=st.floats(0.1, 3))
def test_a_ramp_asks_for_the_mean_of_its_ends(low: float, high: float, warmup: float, seconds: float) -> None:
    assert ramp(low, high, warmup=warmup, seconds=seconds).total == pytest.approx(
        low * warmup + (low + high) / 2 * seconds
    )


@given(st.sampled_from(["poisson", "constant"]), rates, rates, st.floats(0.1, 2), st.integers(2, 9))
def test_times_ascend_within_the_run(arrivals: Arrivals, low: float, high: float, seconds: float, steps: int) -> None:
    for demand in (
        steady(high, seconds),
        ramp(low, high, warmup=0.5, seconds=seconds),
        step(low, high, steps=steps, warmup=0, seconds=seconds),
    ):
        times = spread(demand, arrivals, seed=1).times
        assert (np.diff(times) >= 0).all()
        assert ((times >= 0) & (times < demand.seconds)).all()
