import numpy as np
import pytest

from loadtest.measurement import OK
from loadtest.timeline import MOST_INTERVALS, make_timeline
from tests.loadtest.conftest import make_measurement


@pytest.mark.parametrize("seconds", [0.05, 0.4, 6.0, 10.0, 61.3, 3_600.0])
def test_every_request_is_in_one_of_few_intervals(seconds: float) -> None:
    measurement = make_measurement(np.linspace(0.001, 0.1, 500).tolist(), seconds=seconds)
    timeline = make_timeline(measurement)
    assert 1 <= len(timeline) <= MOST_INTERVALS
    assert sum(interval.due for interval in timeline) == 500
    assert sum(interval.answered for interval in timeline) == measurement.answered
    assert sum(interval.seconds for interval in timeline) == pytest.approx(seconds)


def test_latencies_are_of_what_was_due_and_succeeded() -> None:
    outcomes = [OK] * 50 + ["timeout"] * 50
    first, *_, last = make_timeline(make_measurement([0.01] * 25 + [0.02] * 75, outcomes=outcomes, seconds=2.0))
    assert (first.p50, first.p99, first.max, first.failed) == (10, 10, 10, 0)
    assert (last.p50, last.p99, last.max, last.failed, last.due) == (None, None, None, 5, 5)


def test_a_run_that_measured_nothing_has_no_intervals() -> None:
    assert make_timeline(make_measurement([], seconds=0)) == []
