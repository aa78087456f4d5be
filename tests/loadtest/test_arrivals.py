import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.arrivals import Arrivals, open_loop


def test_constant_arrivals_are_evenly_spaced() -> None:
    times = open_loop("constant", rate=4, seconds=1.5, seed=0).times
    assert times.tolist() == [0, 0.25, 0.5, 0.75, 1.0, 1.25]


def test_poisson_gaps_are_exponential() -> None:
    gaps = np.diff(open_loop("poisson", rate=50, seconds=400, seed=1).times)
    assert gaps.mean() == pytest.approx(1 / 50, rel=0.03)
    # An exponential distribution's deviation equals its mean, and it has no memory: neighbours are unrelated.
    assert gaps.std() == pytest.approx(1 / 50, rel=0.05)
    assert abs(np.corrcoef(gaps[:-1], gaps[1:])[0, 1]) < 0.03
    assert np.mean(gaps > 1 / 50) == pytest.approx(np.exp(-1), abs=0.02)


def test_the_seed_decides() -> None:
    def times(seed: int) -> list[float]:
        return open_loop("poisson", rate=20, seconds=5, seed=seed).times.tolist()  # type: ignore[no-any-return]

    assert times(3) == times(3)
    assert times(3) != times(4)


@given(st.sampled_from(["poisson", "constant"]), st.floats(0.1, 500), st.floats(0.01, 5), st.integers(0, 100))
def test_times_ascend_within_the_run(arrivals: Arrivals, rate: float, seconds: float, seed: int) -> None:
    times = open_loop(arrivals, rate=rate, seconds=seconds, seed=seed).times
    assert (np.diff(times) >= 0).all()
    assert ((times >= 0) & (times < seconds)).all()
