"""Tries rates at a server until its capacity is found. Owns what a trial proves; sends nothing itself."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, TypeAlias

import msgspec

from loadtest.bottleneck import find_bottlenecks
from loadtest.capacity import Finding, Search
from loadtest.checking import WRONG
from loadtest.measurement import Measurement
from loadtest.report import Distribution, Throughput, distribution_of, throughput_of
from loadtest.slo import Objective, Verdict, check

Conclusion: TypeAlias = (
    Finding | Literal["the generator is the bottleneck", "no request succeeded", "wrong vectors", "interrupted"]
)


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """A rate that was tried, and what came of it."""

    rate: float
    """Requests per second that were due."""
    holds: bool
    throughput: Throughput
    latency_ms: Distribution | None
    errors: dict[str, int]
    slo: list[Verdict]
    cpu_us_per_request: float
    bottlenecks: list[str]


async def find_capacity(
    search: Search,
    objectives: Sequence[Objective],
    measure: Callable[[float], Awaitable[Measurement]],
    *,
    watch: Callable[[Trial], None],
) -> tuple[Conclusion, list[Trial]]:
    """Measure one rate after the other, telling `watch` of each; `search.held` is the highest that held."""
    trials: list[Trial] = []
    while (rate := search.next_rate()) is not None:
        measurement = await measure(rate)
        if measurement.ending == "interrupted":
            return "interrupted", trials
        trial = _judge(rate, measurement, objectives)
        trials.append(trial)
        watch(trial)
        if WRONG in trial.errors:
            return "wrong vectors", trials
        # One that holds has proved the rate all the same: the generator's lateness counts as latency.
        if trial.bottlenecks and not trial.holds:
            return "the generator is the bottleneck", trials
        if not measurement.succeeded.any():
            return "no request succeeded", trials
        search.note(rate, holds=trial.holds)
    assert search.finding is not None
    return search.finding, trials


def _judge(rate: float, measurement: Measurement, objectives: Sequence[Objective]) -> Trial:
    verdicts = check(objectives, measurement)
    return Trial(
        rate=rate,
        holds=measurement.ending == "complete" and all(verdict.holds for verdict in verdicts),
        throughput=throughput_of(measurement),
        latency_ms=distribution_of(measurement.latencies[measurement.succeeded]),
        errors=measurement.errors,
        slo=verdicts,
        cpu_us_per_request=measurement.cpu_per_request * 1e6,
        bottlenecks=find_bottlenecks(measurement),
    )
