import json

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.histogram import GROWTH, Histogram, merge
from loadtest.measurement import percentile

latencies = st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=200)


@given(latencies, st.sampled_from([0.0, 50.0, 90.0, 99.0, 99.9, 100.0]))
def test_a_percentile_is_right_to_within_a_bucket(values: list[float], rank: float) -> None:
    exact = percentile(np.sort(values), rank) * 1e3
    found = Histogram.of(np.array(values)).percentile(rank)
    assert exact / 1.000001 <= found <= exact * GROWTH * 1.000001


@given(latencies, latencies)
def test_merging_is_as_if_there_had_been_one_run(first: list[float], second: list[float]) -> None:
    merged = merge([Histogram.of(np.array(first)), Histogram.of(np.array(second))])
    assert merged == Histogram.of(np.array(first + second))
    assert merged.total == len(first) + len(second)
    assert list(merged.counts) == sorted(merged.counts)


def test_it_survives_json() -> None:
    histogram = Histogram.of(np.array([0.0, 1e-6, 0.01, 0.01, 3600.0]))
    encoded = msgspec.json.encode(histogram)
    assert json.loads(encoded)["counts"]["0"] == 2
    assert msgspec.json.decode(encoded, type=Histogram) == histogram


def test_other_buckets_are_not_added() -> None:
    with pytest.raises(ValueError, match=r"growing by 1\.5 cannot be added"):
        merge([Histogram({1: 1}, growth=1.5)])


def test_nothing_has_no_percentile() -> None:
    assert Histogram.of(np.array([])).counts == {}
    with pytest.raises(ValueError, match="no values"):
        Histogram({}).percentile(50)
