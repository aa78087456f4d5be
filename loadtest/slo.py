"""Service-level objectives such as `p99=20ms` or `errors=0.1%`: parsing and checking. Knows no report format."""

import math
import re
from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

from loadtest.measurement import Measurement, Seconds, percentile

_PATTERN = re.compile(r"(errors|mean|max|p\d{1,2}(?:\.\d+)?)=(\d+(?:\.\d+)?)(us|ms|s|%)", re.ASCII)
_DIVISORS = {"us": 1_000_000, "ms": 1_000, "s": 1, "%": 100}

Unit = Literal["seconds", "share"]


class Objective(msgspec.Struct, frozen=True):
    """An upper limit on a latency in seconds, or on the share of requests that fail."""

    text: str
    measure: str
    limit: float
    unit: Unit


class Verdict(msgspec.Struct, frozen=True):
    """How a run compares with an objective; `actual` is None where no finite figure exists."""

    objective: str
    limit: float
    actual: float | None
    unit: Unit
    holds: bool


def parse_objective(text: str) -> Objective:
    """Read `MEASURE=LIMIT`, e.g. `p99=20ms`, `p99.9=1s`, `mean=5ms`, `max=0.5s`, `errors=0.1%`.

    Raises:
        ValueError: anything else; the message tells the value and what is accepted.
    """
    match = _PATTERN.fullmatch(text.strip())
    if match is None or (match[1] == "errors") != (match[3] == "%"):
        raise ValueError(f"{text!r} is not an objective; write e.g. p99=20ms, mean=5ms, max=1s or errors=0.1%")
    unit: Unit = "share" if match[3] == "%" else "seconds"
    return Objective(text=match[0], measure=match[1], limit=float(match[2]) / _DIVISORS[match[3]], unit=unit)


def check(objectives: Sequence[Objective], measurement: Measurement) -> list[Verdict]:
    """Compare a run with its objectives; none of them holds for a run that measured no request.

    A failed request counts as infinitely slow: no server meets `p99` by refusing what it would answer late.
    """
    succeeded = measurement.succeeded
    latencies = np.sort(np.where(succeeded, measurement.latencies, math.inf))
    error_share = float((~succeeded).mean()) if len(succeeded) else math.inf
    return [_verdict(objective, latencies, error_share) for objective in objectives]


def _verdict(objective: Objective, latencies: Seconds, error_share: float) -> Verdict:
    actual = error_share if objective.measure == "errors" else _latency(objective.measure, latencies)
    return Verdict(
        objective=objective.text,
        limit=objective.limit,
        actual=actual if math.isfinite(actual) else None,
        unit=objective.unit,
        holds=actual <= objective.limit,
    )


def _latency(measure: str, latencies: Seconds) -> float:
    if not len(latencies):
        return math.inf
    if measure == "mean":
        return float(latencies.mean())
    return percentile(latencies, 100.0 if measure == "max" else float(measure.removeprefix("p")))
