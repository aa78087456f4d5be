import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import cycle

import pytest
from aiohttp import web

from loadtest.arrivals import ClosedLoop, OpenLoop, open_loop
from loadtest.bottleneck import find_bottlenecks
from loadtest.client import Client, Endpoint
from loadtest.measurement import Measurement
from loadtest.request import Request
from loadtest.routes import ROUTES
from loadtest.runner import Limits, ServerError, probe, run
from tests.loadtest.conftest import Handler, answer_like_tei, make_app

LIMITS = Limits(warmup=0, duration=1, timeout=5, max_requests=10_000, max_errors=1_000)


@dataclass
class Target:
    """A client of a server that runs in the same event loop."""

    client: Client
    requests: list[Request] = field(default_factory=list)

    async def run(self, load: OpenLoop | ClosedLoop, limits: Limits = LIMITS) -> Measurement:
        return await run(self.client, cycle(self.requests), load, limits)


def embed_request(endpoint: Endpoint, text: str) -> Request:
    return Request(endpoint.request(b'{"inputs": "%s"}' % text.encode()), [text], ROUTES["embed"])


@asynccontextmanager
async def target(handler: Handler, *, connections: int = 64) -> AsyncIterator[Target]:
    runner = web.AppRunner(make_app(handler), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    endpoint = Endpoint.from_url(f"http://127.0.0.1:{runner.addresses[0][1]}/embed")
    client = Client(endpoint, connections=connections)
    try:
        yield Target(client, [embed_request(endpoint, str(i)) for i in range(3)])
    finally:
        await client.close()
        await runner.cleanup()


class StallingHandler:
    """Answers at once, but stalls every request in hand for `seconds` from the 20th on."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._received = 0
        self._running = asyncio.Event()
        self._running.set()

    async def answer(self, request: web.Request) -> web.Response:
        self._received += 1
        if self._received == 20:
            self._running.clear()
            asyncio.get_running_loop().call_later(self._seconds, self._running.set)
        await self._running.wait()
        return await answer_like_tei(request)


@pytest.mark.parametrize("connections", [1, 64])
def test_a_stall_shows_in_the_requests_that_were_due_while_it_lasted(connections: int) -> None:
    async def scenario() -> Measurement:
        async with target(StallingHandler(0.4).answer, connections=connections) as server:
            return await server.run(open_loop("constant", rate=100, seconds=1, seed=0))

    measurement = asyncio.run(scenario())
    assert len(measurement.latencies) == 100
    assert measurement.errors == {}
    # 30 requests were due more than 0.1 s before the stall ended – even where the only connection was busy.
    assert (measurement.latencies >= 0.1).sum() >= 28


def test_a_closed_loop_omits_them_which_is_why_open_is_the_default() -> None:
    async def scenario() -> Measurement:
        async with target(StallingHandler(0.4).answer) as server:
            return await server.run(ClosedLoop(clients=2, seconds=1))

    assert (asyncio.run(scenario()).latencies >= 0.1).sum() < 15


def test_the_generators_own_lateness_is_recorded_and_counts_as_latency() -> None:
    async def block_the_loop_once(request: web.Request) -> web.Response:
        if not blocked:
            blocked.append(True)
            time.sleep(0.3)  # the generator shares this loop, so it is late too
        return await answer_like_tei(request)

    async def scenario() -> Measurement:
        async with target(block_the_loop_once) as server:
            return await server.run(open_loop("constant", rate=100, seconds=0.5, seed=0))

    blocked: list[bool] = []
    measurement = asyncio.run(scenario())
    late = measurement.lags >= 0.1
    assert late.sum() >= 15
    assert (measurement.latencies[late] >= measurement.lags[late]).all()
    assert any("requests left late" in reason for reason in find_bottlenecks(measurement))


def test_failures_are_told_apart() -> None:
    async def fail_in_turn(request: web.Request) -> web.Response:
        counter.append(1)
        match len(counter) % 5:
            case 1:
                return web.json_response({}, status=429)
            case 2:
                return web.json_response({"not": "vectors"})
            case 3:
                assert request.transport is not None
                request.transport.abort()
            case 4:
                await asyncio.sleep(60)
        return await answer_like_tei(request)

    async def scenario() -> Measurement:
        async with target(fail_in_turn) as server:
            limits = Limits(warmup=0, duration=1, timeout=1.5, max_requests=100, max_errors=100)
            return await server.run(open_loop("constant", rate=20, seconds=1, seed=0), limits)

    counter: list[int] = []
    measurement = asyncio.run(scenario())
    assert measurement.errors == {"HTTP 429": 4, "invalid answer": 4, "connection lost": 4, "timeout": 4}
    assert measurement.succeeded.sum() == 4


def test_warm_up_is_sent_but_not_measured() -> None:
    async def count(request: web.Request) -> web.Response:
        received.append(1)
        return await answer_like_tei(request)

    async def scenario() -> Measurement:
        async with target(count) as server:
            limits = Limits(warmup=0.2, duration=0.3, timeout=5, max_requests=100, max_errors=0)
            return await server.run(open_loop("constant", rate=100, seconds=0.5, seed=0), limits)

    received: list[int] = []
    measurement = asyncio.run(scenario())
    assert len(received) == 50
    assert len(measurement.latencies) == 30
    assert measurement.seconds == pytest.approx(0.3)
    assert measurement.ending == "complete"


def test_clients_never_have_more_than_one_request_each_under_way() -> None:
    async def count(request: web.Request) -> web.Response:
        under_way.append(1)
        seen.add(len(under_way))
        await asyncio.sleep(0.005)
        under_way.pop()
        return await answer_like_tei(request)

    async def scenario() -> Measurement:
        async with target(count) as server:
            return await server.run(ClosedLoop(clients=4, seconds=0.3))

    under_way: list[int] = []
    seen: set[int] = set()
    measurement = asyncio.run(scenario())
    assert max(seen) == 4
    assert len(measurement.latencies) > 4
    assert measurement.errors == {}


def test_too_many_errors_end_the_run() -> None:
    async def refuse(_request: web.Request) -> web.Response:
        return web.json_response({}, status=503)

    async def scenario() -> Measurement:
        async with target(refuse) as server:
            limits = Limits(warmup=0, duration=60, timeout=5, max_requests=10_000, max_errors=10)
            return await server.run(open_loop("constant", rate=100, seconds=60, seed=0), limits)

    measurement = asyncio.run(scenario())
    assert measurement.ending == "too many errors"
    assert measurement.errors == {"HTTP 503": 11}
    assert measurement.seconds < 60


def test_a_closed_loop_is_bounded_in_count_too() -> None:
    async def scenario() -> Measurement:
        async with target(answer_like_tei) as server:
            limits = Limits(warmup=0, duration=60, timeout=5, max_requests=25, max_errors=0)
            return await server.run(ClosedLoop(clients=3, seconds=60), limits)

    measurement = asyncio.run(scenario())
    assert measurement.ending == "too many requests"
    assert 23 <= len(measurement.outcomes) + measurement.unfinished <= 25


def test_an_interrupted_run_reports_what_it_has() -> None:
    async def answer_twice_then_never(request: web.Request) -> web.Response:
        received.append(1)
        if len(received) > 2:
            enough.set()
            await asyncio.sleep(60)
        return await answer_like_tei(request)

    async def scenario() -> Measurement:
        async with target(answer_twice_then_never) as server:
            task = asyncio.create_task(server.run(ClosedLoop(clients=1, seconds=60)))
            await enough.wait()
            task.cancel()
            return await task

    received: list[int] = []
    enough = asyncio.Event()
    measurement = asyncio.run(scenario())
    assert measurement.ending == "interrupted"
    assert len(measurement.latencies) == 2
    assert measurement.unfinished == 1


async def answer_503(_request: web.Request) -> web.Response:
    return web.json_response({"error": "secret"}, status=503)


async def answer_nonsense(_request: web.Request) -> web.Response:
    return web.json_response({"hello": "secret"})


async def never_answer(_request: web.Request) -> web.Response:
    await asyncio.sleep(60)
    raise AssertionError


@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        (answer_503, "answered HTTP 503"),
        (answer_nonsense, "not with what this route promises"),
        (never_answer, "no answer within 0.2 s"),
    ],
)
def test_the_probe_says_what_is_wrong_and_echoes_nothing(handler: Handler, reason: str) -> None:
    async def scenario() -> None:
        async with target(handler) as server:
            with pytest.raises(ServerError, match=re.escape(reason)) as caught:
                await probe(server.client, server.requests[0], timeout=0.2)
            assert "secret" not in str(caught.value)

    asyncio.run(scenario())
