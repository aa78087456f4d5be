"""A run as one document. Owns units and field names; measures and shows nothing."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np

from loadtest.bottleneck import find_bottlenecks
from loadtest.histogram import Histogram
from loadtest.machine import Machine, describe_machine, is_loopback, versions
from loadtest.measurement import Ending, Measurement, Seconds, percentile
from loadtest.slo import Verdict
from loadtest.timeline import Interval, make_timeline


class Distribution(msgspec.Struct, frozen=True):
    """Milliseconds: percentiles of observed values, nothing interpolated."""

    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    p99_9: float = msgspec.field(name="p99.9")
    max: float


class Requests(msgspec.Struct, frozen=True, kw_only=True):
    """Requests that were due in the measured window."""

    due: int
    succeeded: int
    failed: int
    unfinished: int
    errors: dict[str, int]
    """Failures by kind: `HTTP 429`, `timeout`, `cannot connect`, `connection lost`, `not HTTP`, `invalid answer`,
    `wrong vectors`."""


class Throughput(msgspec.Struct, frozen=True):
    """Valid answers that arrived in the measured window, per second."""

    requests_per_second: float
    texts_per_second: float


class Generator(msgspec.Struct, frozen=True):
    """How this program itself did."""

    cpu_share: float
    """Cores used."""
    cpu_us_per_request: float
    """Processor time of this program per request, in microseconds: what it takes from a server beside it."""
    on_loopback: bool
    """Whether server and generator share one machine, and so take processor time from each other."""
    lag_ms: Distribution | None
    """Actual minus intended send times; None in a closed loop, which intends none."""
    bottlenecks: list[str]
    """Why the figures are not to be trusted; empty for a sound run."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about a run, and enough to repeat it."""

    format: int = 1
    date: str
    ending: Ending
    seconds: float
    requests: Requests
    throughput: Throughput
    latency_ms: Distribution | None
    """Of the requests that succeeded, from their intended send time; None when none did."""
    latency_histogram: Histogram
    """The same latencies, to be added to those of other runs."""
    timeline: list[Interval]
    answers_checked: int | None
    """How many answers' vectors were compared with those of the same texts alone; None without --check."""
    generator: Generator
    slo: list[Verdict]
    settings: dict[str, Any]
    machine: Machine
    versions: dict[str, str]


def make_report(
    measurement: Measurement,
    verdicts: Sequence[Verdict],
    *,
    paced: bool,
    answers_checked: int | None,
    settings: dict[str, Any],
) -> Report:
    """Describe a run. `paced`: whether it was an open loop; `settings`: what it was asked to do, free of secrets."""
    succeeded = measurement.succeeded
    return Report(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        ending=measurement.ending,
        seconds=measurement.seconds,
        requests=Requests(
            due=len(succeeded),
            succeeded=int(succeeded.sum()),
            failed=int((~succeeded).sum()),
            unfinished=measurement.unfinished,
            errors=measurement.errors,
        ),
        throughput=throughput_of(measurement),
        latency_ms=distribution_of(measurement.latencies[succeeded]),
        latency_histogram=Histogram.of(measurement.latencies[succeeded]),
        timeline=make_timeline(measurement),
        answers_checked=answers_checked,
        generator=Generator(
            cpu_share=measurement.cpu_share,
            cpu_us_per_request=measurement.cpu_per_request * 1e6,
            on_loopback=is_loopback(settings["url"]),
            lag_ms=distribution_of(measurement.lags) if paced else None,
            bottlenecks=find_bottlenecks(measurement),
        ),
        slo=list(verdicts),
        settings=settings,
        machine=describe_machine(),
        versions=versions(),
    )


def to_json(report: msgspec.Struct) -> bytes:
    """Any report as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


def throughput_of(measurement: Measurement) -> Throughput:
    """Answers per second; none in a window of no length."""
    seconds = measurement.seconds or 1.0
    return Throughput(measurement.answered / seconds, measurement.texts_answered / seconds)


def distribution_of(seconds: Seconds) -> Distribution | None:
    """Describe values; None when there are none."""
    if not len(seconds):
        return None
    ascending = np.sort(seconds) * 1e3
    return Distribution(
        mean=float(ascending.mean()),
        p50=percentile(ascending, 50),
        p90=percentile(ascending, 90),
        p95=percentile(ascending, 95),
        p99=percentile(ascending, 99),
        p99_9=percentile(ascending, 99.9),
        max=float(ascending[-1]),
    )
