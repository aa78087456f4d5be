"""One load on one server: what came of it and what it cost. Owns units; knows neither rounds nor peers."""

import asyncio
import selectors
import time
from dataclasses import dataclass
from itertools import cycle

import msgspec
import numpy as np

from loadtest.arrivals import ClosedLoop
from loadtest.bottleneck import find_bottlenecks
from loadtest.client import Client, Endpoint
from loadtest.corpus import split_into_requests
from loadtest.measurement import Measurement, percentile
from loadtest.peers.errors import AbsentError
from loadtest.peers.server import Server
from loadtest.peers.texts import Length, Texts
from loadtest.peers.usage import cpu_seconds, peak_mebibytes, reset_peak
from loadtest.request import Request
from loadtest.routes import ROUTES
from loadtest.runner import Limits, run

WARMUP_SECONDS = 0.5
_TIMEOUT = 60.0
_LEAST_ANSWERS = 3
"""To each client, so that the throughput of a slow system is not a matter of two answers or three."""


@dataclass(frozen=True)
class Load:
    """So many clients, each of which waits for its answer before it sends again."""

    clients: int
    texts_per_request: int
    length: Length

    @property
    def name(self) -> str:
        """As in the record and in --loads."""
        return f"{self.clients}x{self.texts_per_request}-{self.length}"


def all_loads() -> list[Load]:
    """Every shape of load with texts of every length."""
    shapes = [(1, 1), (8, 1), (32, 1), (64, 1), (4, 32)]
    lengths: tuple[Length, ...] = ("short", "mixed", "long")
    return [Load(clients, texts, length) for length in lengths for clients, texts in shapes]


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What one load made of one server."""

    requests_per_second: float
    texts_per_second: float
    tokens_per_second: float
    p50_ms: float
    p99_ms: float
    peak_mebibytes: float
    """Of the process tree while the load lasted; memory that processes share is counted in each."""
    cpu_seconds_per_1000_texts: float
    failed: int
    generator_cores: float
    generator_bottlenecks: list[str]


def measure(server: Server, load: Load, texts: Texts, *, seconds: float) -> Figures:
    """Warm the server up with `load`, then apply it for `seconds`, longer where answers are slow.

    Raises:
        AbsentError: no request succeeded.
    """
    requests = _requests(server, load, texts)
    warmup = _apply(server, load, requests, WARMUP_SECONDS)
    answers = warmup.latencies[warmup.succeeded]
    if not len(answers):
        raise AbsentError(f"no answer to {load.name}: {', '.join(warmup.errors)}")
    pids = server.pids
    reset_peak(pids)
    cpu_before, began = cpu_seconds(pids), time.perf_counter()
    measurement = _apply(server, load, requests, max(seconds, _LEAST_ANSWERS * float(np.median(answers))))
    # Until the last answer has come: what was sent before the end and answered after it was worked for as well.
    elapsed, cpu = time.perf_counter() - began, cpu_seconds(pids) - cpu_before
    latencies = np.sort(measurement.latencies[measurement.succeeded]) * 1e3
    if not len(latencies):
        raise AbsentError(f"no answer to {load.name}: {', '.join(measurement.errors)}")
    embedded = len(latencies) * load.texts_per_request
    return Figures(
        requests_per_second=len(latencies) / elapsed,
        texts_per_second=embedded / elapsed,
        tokens_per_second=texts.tokens_of_first(embedded) / elapsed,
        p50_ms=percentile(latencies, 50),
        p99_ms=percentile(latencies, 99),
        peak_mebibytes=peak_mebibytes(pids),
        cpu_seconds_per_1000_texts=cpu / embedded * 1000,
        failed=len(measurement.latencies) - len(latencies),
        generator_cores=measurement.cpu_share,
        generator_bottlenecks=find_bottlenecks(measurement),
    )


def _requests(server: Server, load: Load, texts: Texts) -> list[Request]:
    route, endpoint = ROUTES[server.system.route], Endpoint.from_url(server.url)
    batches = split_into_requests(texts.texts, load.texts_per_request)
    return [
        Request(endpoint.request(route.encode(batch, server.system.served_name)), batch, route) for batch in batches
    ]


def _apply(server: Server, load: Load, requests: list[Request], seconds: float) -> Measurement:
    async def apply() -> Measurement:
        client = Client(Endpoint.from_url(server.url), connections=load.clients)
        limits = Limits(warmup=0, duration=seconds, timeout=_TIMEOUT, max_requests=10**7, max_errors=100)
        try:
            return await run(client, cycle(requests), ClosedLoop(load.clients, seconds), limits)
        finally:
            await client.close()

    # As in `loadtest`: select waits in microseconds, epoll in whole milliseconds.
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        return runner.run(apply())
