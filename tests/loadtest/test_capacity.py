import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.capacity import MOST_STEPS, Search


def search_for(capacity: float, *, first: float = 50, highest: float = 100_000, resolution: float = 0.05) -> Search:
    search = Search(first=first, lowest=min(1.0, first), highest=highest, resolution=resolution)
    while (rate := search.next_rate()) is not None:
        search.note(rate, holds=rate <= capacity)
    return search


@given(st.floats(1, 90_000), st.floats(1, 100_000), st.floats(0.01, 1))
def test_the_capacity_is_found_to_within_the_resolution(capacity: float, first: float, resolution: float) -> None:
    search = search_for(capacity, first=first, resolution=resolution)
    assert search.finding == "found"
    assert search.held is not None
    assert search.held <= capacity < search.held * (1 + resolution) * (1 + 1e-9)
    assert search.steps < MOST_STEPS


def test_rates_double_until_one_fails_and_then_close_in() -> None:
    search = Search(first=100, lowest=1, highest=1_000, resolution=0.1)
    tried = []
    while (rate := search.next_rate()) is not None:
        tried.append(rate)
        search.note(rate, holds=rate <= 330)
    assert tried[:3] == [100, 200, 400]
    assert tried[3] == pytest.approx(math.sqrt(200 * 400))
    assert len(tried) <= 7


def test_a_server_that_is_too_slow_or_too_fast() -> None:
    slow = search_for(0.5, first=64)
    assert (slow.finding, slow.held, slow.failed) == ("no rate holds", None, 1)
    fast = search_for(10_000, highest=3_000)
    assert (fast.finding, fast.held) == ("the highest rate that can be sent holds", 3_000)


def test_no_search_goes_on_for_ever() -> None:
    search = Search(first=1e-9, lowest=1e-12, highest=1e300, resolution=0.01)
    while (rate := search.next_rate()) is not None:
        search.note(rate, holds=True)
    assert (search.finding, search.steps) == ("out of steps", MOST_STEPS)
