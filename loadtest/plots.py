"""Which plots a report gets: report → SVG. Draws nothing itself."""

import math

from loadtest.capacity_report import CapacityReport
from loadtest.report import Report
from loadtest.svg import Axis, Line, linear_axis, plot

_RANKS = (0, 50, 90, 99, 99.9, 99.99)


def plots_of(report: Report) -> list[tuple[str, str]]:
    """Titles and drawings on a run; none of a run that measured nothing."""
    if not report.timeline or not report.latency_histogram.counts:
        return []
    return [
        ("Latency over time", _latency_over_time(report)),
        ("Latency by percentile", _percentiles(report)),
        ("Throughput over time", _throughput(report)),
    ]


def plots_of_search(report: CapacityReport) -> list[tuple[str, str]]:
    """Titles and drawings on a search for the capacity; none where nothing was tried."""
    trials = [trial for trial in report.trials if trial.latency_ms is not None]
    if not trials:
        return []
    points = {
        holds: [(trial.rate, trial.latency_ms.p99) for trial in trials if trial.latency_ms and trial.holds == holds]
        for holds in (True, False)
    }
    # What failed may have been thousands of times slower; the interesting part is around what holds.
    most = max(latency for _, latency in points[True] or points[False])
    drawing = plot(
        "p99 by rate",
        linear_axis("requests/s", max(trial.rate for trial in trials)),
        linear_axis("ms", 2 * most),
        [Line("holds", points[True], dots=True), Line("does not", points[False], dots=True)],
    )
    return [("p99 by rate (what is above the edge is drawn on it)", drawing)]


def _latency_over_time(report: Report) -> str:
    rows = report.timeline
    high = max(row.max for row in rows if row.max is not None)
    lines = [
        Line("p50", [(row.start + row.seconds / 2, row.p50) for row in rows]),
        Line("p99", [(row.start + row.seconds / 2, row.p99) for row in rows]),
        Line("max", [(row.start + row.seconds / 2, row.max) for row in rows]),
    ]
    return plot("Latency over time", linear_axis("s", report.seconds), linear_axis("ms", high), lines)


def _percentiles(report: Report) -> str:
    histogram = report.latency_histogram
    nines = [number / 50 for number in range(201)]  # 0 … 4: how many nines the rank has
    points: list[tuple[float, float | None]] = [
        (nine, histogram.percentile(100 * (1 - 10**-nine)))
        for nine in nines
        if 10**-nine * histogram.total >= 1 or not nine
    ]
    x = Axis("percentile", 0, 4, [(-math.log10(1 - rank / 100), f"{rank:g}") for rank in _RANKS])
    high = max(value for _, value in points if value is not None)
    return plot("Latency by percentile", x, linear_axis("ms", high), [Line("latency", points)])


def _throughput(report: Report) -> str:
    rows = report.timeline
    lines = [
        Line("due", [(row.start + row.seconds / 2, row.due / row.seconds) for row in rows]),
        Line("answered", [(row.start + row.seconds / 2, row.answered / row.seconds) for row in rows]),
        Line("failed", [(row.start + row.seconds / 2, row.failed / row.seconds) for row in rows]),
    ]
    high = max(max(row.due, row.answered) / row.seconds for row in rows)
    return plot("Throughput over time", linear_axis("s", report.seconds), linear_axis("requests/s", high), lines)
