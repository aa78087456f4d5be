import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.measurement import OK, Measurement, Recorder, percentile


@given(
    st.lists(st.floats(0, 100), min_size=1, max_size=300),
    st.sampled_from([0.0, 50.0, 90.0, 95.0, 99.0, 99.9, 100.0]),
)
def test_percentiles_are_numpys_inverted_cdf(values: list[float], rank: float) -> None:
    assert percentile(np.sort(values), rank) == np.percentile(values, rank, method="inverted_cdf")


def test_a_percentile_is_a_value_that_was_observed() -> None:
    values = np.arange(1.0, 1001.0)
    assert [percentile(values, rank) for rank in (50, 99, 99.9, 100)] == [500, 990, 999, 1000]
    assert percentile(np.array([1.0, math.inf]), 50) == 1  # interpolation would give NaN


def test_no_values_have_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile(np.array([]), 50)


def measure(recorder: Recorder, *, start: float = 1, end: float = 2) -> Measurement:
    return recorder.measurement(start=start, end=end, unfinished=0, cpu_share=0, cpu_per_request=0, ending="complete")


def test_only_requests_due_in_the_window_count() -> None:
    recorder = Recorder()
    for due in (0.5, 1.0, 1.9, 2.0):
        recorder.add(due=due, lag=0, texts=4, latency=due / 100, outcome=OK)
    measurement = measure(recorder)
    assert measurement.latencies.tolist() == [0.01, 0.019]
    assert measurement.due.tolist() == pytest.approx([0, 0.9])
    assert measurement.seconds == 1


def test_throughput_counts_the_answers_that_arrived_in_the_window() -> None:
    recorder = Recorder()
    recorder.add(due=0.9, lag=0, texts=4, latency=0.2, outcome=OK)  # a warm-up request, answered inside
    recorder.add(due=1.5, lag=0, texts=4, latency=0.1, outcome=OK)
    recorder.add(due=1.5, lag=0, texts=4, latency=0.1, outcome="HTTP 429")
    recorder.add(due=1.9, lag=0, texts=4, latency=5.0, outcome=OK)  # drained after the end
    measurement = measure(recorder)
    assert measurement.answered == 2
    assert measurement.answered_at.tolist() == pytest.approx([0.1, 0.6])
    assert measurement.texts_answered == 8


def test_errors_are_counted_by_kind_most_frequent_first() -> None:
    recorder = Recorder()
    for outcome in (OK, "timeout", "HTTP 429", "HTTP 429"):
        recorder.add(due=1, lag=0, texts=4, latency=0, outcome=outcome)
    measurement = measure(recorder)
    assert list(measurement.errors.items()) == [("HTTP 429", 2), ("timeout", 1)]
    assert measurement.succeeded.tolist() == [True, False, False, False]


def test_a_run_ended_during_warm_up_measured_nothing() -> None:
    recorder = Recorder()
    recorder.add(due=0.1, lag=0, texts=4, latency=0, outcome=OK)
    measurement = measure(recorder, start=1, end=0.2)
    assert measurement.seconds == 0
    assert measurement.outcomes == []
