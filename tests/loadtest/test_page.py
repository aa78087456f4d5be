import re
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from loadtest.capacity_report import make_capacity_report
from loadtest.measurement import OK, Measurement
from loadtest.page import to_html
from loadtest.report import distribution_of, make_report, throughput_of
from loadtest.slo import check, parse_objective
from loadtest.svg import Line, linear_axis, plot
from loadtest.trials import Trial
from tests.loadtest.conftest import make_measurement

SETTINGS: dict[str, Any] = {
    "url": "http://host/<script>",
    "routes": "embed",
    "seed": 0,
    "slo": ["p99=20ms"],
    "resolution": 0.05,
}


def page_of(measurement: Measurement) -> str:
    verdicts = check([parse_objective("p99=20ms")], measurement)
    return to_html(make_report(measurement, verdicts, paced=True, answers_checked=3, settings=SETTINGS)).decode()


def trial(rate: float, *, holds: bool) -> Trial:
    measurement = make_measurement([0.001 if holds else 0.1] * 10)
    return Trial(
        rate=rate,
        holds=holds,
        throughput=throughput_of(measurement),
        latency_ms=distribution_of(measurement.latencies),
        errors={},
        slo=check([parse_objective("p99=20ms")], measurement),
        cpu_us_per_request=100,
        bottlenecks=[],
    )


def assert_self_contained(page: str) -> None:
    assert "<script" not in page  # neither ours nor from a setting
    assert not re.search(r"(src|href)=|url\(|@import", page)
    for drawing in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        assert "nan" not in drawing
        ET.fromstring(drawing)


def test_a_runs_page_has_its_plots_and_needs_nothing_else() -> None:
    page = page_of(make_measurement([number / 1000 for number in range(1, 201)], seconds=5))
    assert_self_contained(page)
    assert page.count("<svg") == 3
    for part in ("Latency over time", "Latency by percentile", "Throughput over time", "violated", "198.00 ms"):
        assert part in page


def test_a_run_without_a_success_has_a_page_without_plots() -> None:
    page = page_of(make_measurement([0.1], outcomes=["HTTP 503"]))
    assert_self_contained(page)
    assert "HTTP 503" in page
    assert "<svg" not in page
    assert "<svg" not in page_of(make_measurement([], seconds=0, ending="interrupted"))


@pytest.mark.parametrize("outcomes", [[OK], [OK, "timeout"], [OK] * 2])
def test_tiny_runs_can_be_drawn(outcomes: list[str]) -> None:
    assert_self_contained(page_of(make_measurement([0.0] * len(outcomes), outcomes=outcomes, seconds=0.05)))


def test_a_searchs_page_shows_every_step() -> None:
    trials = [trial(50, holds=True), trial(100, holds=False)]
    page = to_html(make_capacity_report("found", 50.0, trials, settings=SETTINGS)).decode()
    assert_self_contained(page)
    assert "<strong>50.0 requests/s</strong>" in page
    assert page.count("<circle") == 2
    failed = to_html(make_capacity_report("no rate holds", None, [], settings=SETTINGS)).decode()
    assert_self_contained(failed)
    assert "No capacity found: no rate holds" in failed


def test_a_gap_interrupts_a_line_and_names_are_escaped() -> None:
    line = Line("a<b", [(0, 1), (1, None), (2, 1), (3, 2)])
    drawing = plot('"quoted" & more', linear_axis("s", 3), linear_axis("ms", 2), [line])
    path = next(element for element in ET.fromstring(drawing) if element.tag == "path")
    assert re.sub(r"[^ML]", "", path.get("d", "")) == "MML"


@pytest.mark.parametrize("high", [0, 1e-6, 0.7, 3, 99, 1e6])
def test_axes_have_a_few_round_ticks(high: float) -> None:
    axis = linear_axis("", high)
    assert 2 <= len(axis.ticks) <= 11
    assert all(-1e-9 <= axis.place(value) <= 1 for value, _ in axis.ticks)
