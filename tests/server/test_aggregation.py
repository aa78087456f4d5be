from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily
from prometheus_client.parser import text_string_to_metric_families

from server.aggregation import Succession, merge, render

BUCKETS = (1.0, 2.0, 4.0)


def process(
    counts: dict[str, float] | None = None, seconds: tuple[float, ...] = (), gauges: dict[str, float] | None = None
) -> list[Metric]:
    """What a process collects that has counted `counts` by label, observed `seconds`, and whose gauges stand so."""
    registry = CollectorRegistry()
    counter = Counter("texts", "Texts.", ["model"], registry=registry)
    for model, count in (counts or {}).items():
        counter.labels(model).inc(count)
    histogram = Histogram("wait_seconds", "Waits.", buckets=BUCKETS, registry=registry)
    for value in seconds:
        histogram.observe(value)
    for name, value in (gauges or {}).items():
        Gauge(name, "A gauge.", registry=registry).set(value)
    Info("disco_serving", "What.", ["model"], registry=registry).labels("a").info({"version": "1"})
    return list(registry.collect())


def values(families: Sequence[Metric]) -> dict[tuple[Any, ...], float]:
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


counts = st.dictionaries(st.sampled_from("abc"), st.integers(0, 1000).map(float))
observations = st.lists(st.integers(0, 6).map(float), max_size=5).map(tuple)


@given(st.lists(st.tuples(counts, observations), min_size=1, max_size=4))
def test_what_several_counted_is_what_one_would_have_counted(parts: list[tuple[dict[str, float], Any]]) -> None:
    together = {
        model: sum(count.get(model, 0) for count, _ in parts)
        for model in {model for count, _ in parts for model in count}
    }
    everything = tuple(value for _, seconds in parts for value in seconds)
    merged = merge(process(count, seconds) for count, seconds in parts)
    assert values(merged) == values(process(together, everything))


@pytest.mark.parametrize(
    ("name", "both"),
    [
        ("disco_queue_items", 7),
        ("disco_ready", 2),
        ("process_start_time_seconds", 2),
        ("disco_queue_oldest_seconds", 5),
        ("process_max_fds", 5),
    ],
)
def test_gauges_that_are_no_numbers_of_things_are_not_added_up(name: str, both: float) -> None:
    merged = merge([process(gauges={name: value}) for value in (2.0, 5.0)])
    assert values(merged)[(name,)] == both


def test_what_is_served_is_told_once() -> None:
    assert values(merge([process(), process()]))["disco_serving_info", ("model", "a"), ("version", "1")] == 1


def test_one_process_is_told_as_it_is() -> None:
    registry = CollectorRegistry()
    Counter("texts", "Texts.", registry=registry).inc(3)
    assert render([list(registry.collect())]) == generate_latest(registry)


def test_the_page_of_several_is_one_that_prometheus_reads() -> None:
    page = render([process({"a": 1}, (0.5,)), process({"b": 2}, (3.0,))]).decode()
    families = {family.name: family.type for family in text_string_to_metric_families(page)}
    assert families["texts"] == "counter"
    assert families["wait_seconds"] == "histogram"
    assert 'wait_seconds_bucket{le="4.0"} 2.0' in page
    assert page.count("# TYPE texts_total counter") == 1


@given(st.lists(st.tuples(counts, observations), min_size=1, max_size=4))
def test_what_those_before_counted_is_kept(lives: list[tuple[dict[str, float], Any]]) -> None:
    place = Succession()
    for count, seconds in lives[:-1]:
        place.told(process(count, seconds, {"disco_queue_items": 3}))
        place.ended()
    told = place.told(process(*lives[-1]))
    assert values(told) == values(merge(process(count, seconds) for count, seconds in lives))


def test_while_nobody_is_there_counts_stay_and_gauges_do_not() -> None:
    place = Succession()
    place.told(process({"a": 2}, (3.0,), {"disco_queue_items": 3}))
    place.ended(CounterMetricFamily("ends", "Ends.", value=1))
    for _ in range(2):  # nothing is counted again by being told again
        known = values(place.known())
        assert known["texts_total", ("model", "a")] == 2
        assert known[("wait_seconds_count",)] == 1
        assert known[("ends_total",)] == 1
        assert ("disco_queue_items",) not in known
