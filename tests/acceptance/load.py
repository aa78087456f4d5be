"""Several kinds of requests at a server at once, made of the pieces of `loadtest`, and what came of each."""

import asyncio
import selectors
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np

from loadtest.arrivals import Arrivals, ClosedLoop, Load, open_loop
from loadtest.bottleneck import find_bottlenecks
from loadtest.client import Client, Endpoint
from loadtest.corpus import MOST_TEXTS, generate_texts, split_into_requests
from loadtest.measurement import OK, Measurement, percentile
from loadtest.request import Request
from loadtest.routes import ROUTES
from loadtest.runner import Limits, run

REFUSED = "HTTP 429"
WARMUP = 2.0
"""Seconds of load before anything is measured."""
TIMEOUT = 30.0
MANY_CLIENTS = 48
"""Enough to keep every worker in full batches, few enough for a queue of a fraction of a second."""


@dataclass(frozen=True)
class Stream:
    """Requests of so many of `texts` each, in turn, sent when `load` says."""

    load: Load
    texts: Sequence[str]
    texts_per_request: int = 1

    def requests(self, endpoint: Endpoint) -> list[Request]:
        """Ready-made requests."""
        route = ROUTES["embed"]
        batches = split_into_requests(list(self.texts), self.texts_per_request)
        return [Request(endpoint.request(route.encode(batch, "")), batch, route) for batch in batches]


def clients(number: int, *, seconds: float, texts_per_request: int = 1, texts: Sequence[str] | None = None) -> Stream:
    """So many clients, each of which waits for its answer before it sends again."""
    load = ClosedLoop(number, WARMUP + seconds)
    return Stream(load, texts or generate_texts(MOST_TEXTS, seed=0), texts_per_request)


def paced(
    rate: float, *, seconds: float, texts_per_request: int = 1, seed: int = 0, arrivals: Arrivals = "poisson"
) -> Stream:
    """So many requests a second, however slow the answers are."""
    load = open_loop(arrivals, rate=rate, seconds=WARMUP + seconds, seed=seed)
    return Stream(load, generate_texts(MOST_TEXTS, seed=seed), texts_per_request)


def measure(url: str, *streams: Stream, seconds: float) -> list[Measurement]:
    """Send all streams at once; what is measured of each lasts `seconds` and begins after the warm-up."""
    # As in `loadtest`: select waits in microseconds, epoll in whole milliseconds.
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        return runner.run(_measure(Endpoint.from_url(f"{url}/embed"), streams, seconds))


async def _measure(endpoint: Endpoint, streams: Sequence[Stream], seconds: float) -> list[Measurement]:
    prepared = [(stream, stream.requests(endpoint)) for stream in streams]
    return await asyncio.gather(*(_send(endpoint, stream, requests, seconds) for stream, requests in prepared))


async def _send(endpoint: Endpoint, stream: Stream, requests: list[Request], seconds: float) -> Measurement:
    limits = Limits(warmup=WARMUP, duration=seconds, timeout=TIMEOUT, max_requests=10_000_000, max_errors=10_000_000)
    client = Client(endpoint, connections=256)
    try:
        return await run(client, cycle(requests), stream.load, limits)
    finally:
        await client.close()


def answers_per_second(measurement: Measurement) -> float:
    """The throughput of valid answers."""
    return measurement.answered / measurement.seconds


def latency(measurement: Measurement, rank: float, outcome: str = OK) -> float:
    """A percentile, in seconds, over the requests of that outcome; NaN where there are none."""
    of_outcome = np.array([found == outcome for found in measurement.outcomes], dtype=np.bool_)
    return percentile(np.sort(measurement.latencies[of_outcome]), rank) if of_outcome.any() else float("nan")


def describe(measurement: Measurement) -> dict[str, Any]:
    """What is written down about a stream."""
    return {
        "answers_per_second": round(answers_per_second(measurement), 1),
        "p50_ms": _milliseconds(latency(measurement, 50)),
        "p99_ms": _milliseconds(latency(measurement, 99)),
        "due": len(measurement.outcomes),
        "not_answered": measurement.errors,
        "generator_cores": round(measurement.cpu_share, 3),
        "generator_bottlenecks": find_bottlenecks(measurement),
    }


def _milliseconds(seconds: float) -> float | None:
    return round(seconds * 1e3, 3) if np.isfinite(seconds) else None
