import pytest

from loadtest.measurement import OK, Measurement
from loadtest.slo import Verdict, check, parse_objective
from tests.loadtest.conftest import make_measurement


def verdict(objective: str, measurement: Measurement) -> Verdict:
    return check([parse_objective(objective)], measurement)[0]


@pytest.mark.parametrize(
    ("text", "measure", "limit"),
    [
        ("p99=20ms", "p99", 0.02),
        ("p99.9=1.5s", "p99.9", 1.5),
        ("p50=250us", "p50", 0.00025),
        ("mean=5ms", "mean", 0.005),
        (" max=1s ", "max", 1),
        ("errors=0.1%", "errors", 0.001),
        ("errors=0%", "errors", 0),
    ],
)
def test_objectives_are_read(text: str, measure: str, limit: float) -> None:
    objective = parse_objective(text)
    assert objective.measure == measure
    assert objective.limit == pytest.approx(limit)


@pytest.mark.parametrize(
    "text",
    [
        *["", "p99", "p99=", "p99=20", "p99=-1ms", "p99=1h", "p99=1%", "p100=1s", "pp=1s", "p99 =1s", "p99<20ms"],
        *["errors=5", "errors=5ms", "x=1s", "p99=1e3ms", "p99=20ms,errors=1%", "p٩٩=1s"],
    ],
)
def test_bad_objectives_are_named(text: str) -> None:
    with pytest.raises(ValueError, match="is not an objective; write") as caught:
        parse_objective(text)
    assert repr(text) in str(caught.value)


def test_latency_objectives() -> None:
    measurement = make_measurement([i / 1000 for i in range(1, 101)])  # 1 … 100 ms
    assert verdict("p99=99ms", measurement).holds
    assert not verdict("p99=98ms", measurement).holds
    assert verdict("p50=40ms", measurement).actual == pytest.approx(0.05)
    assert verdict("max=100ms", measurement).holds
    assert verdict("mean=50.5ms", measurement).actual == pytest.approx(0.0505)


def test_a_failed_request_counts_as_infinitely_slow() -> None:
    refusing = make_measurement([0.001] * 100, outcomes=[OK] * 98 + ["HTTP 429"] * 2)
    assert verdict("p95=2ms", refusing).holds
    refused = verdict("p99=2ms", refusing)
    assert not refused.holds
    assert refused.actual is None
    assert not verdict("mean=1s", refusing).holds
    assert verdict("errors=2%", refusing).holds
    assert not verdict("errors=1.9%", refusing).holds


@pytest.mark.parametrize("objective", ["p50=1s", "mean=1s", "max=1s", "errors=50%"])
def test_nothing_measured_holds_no_objective(objective: str) -> None:
    assert not verdict(objective, make_measurement([])).holds
