"""A tiny embedding server on loopback whose moods a test sets: slow, refusing, wrong, or hanging up."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence

import numpy as np
import pytest
from aiohttp import web

from loadtest.measurement import OK, Ending, Measurement

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_measurement(
    latencies: Sequence[float],
    *,
    outcomes: list[str] | None = None,
    lag: float = 0.0001,
    cpu_share: float = 0.1,
    seconds: float = 1.0,
    ending: Ending = "complete",
) -> Measurement:
    """A run whose requests were due evenly over its window and carried four texts each."""
    n = len(latencies)
    outcomes = [OK] * n if outcomes is None else outcomes
    due = np.arange(n) * seconds / max(n, 1)
    succeeded = np.array([outcome == OK for outcome in outcomes], dtype=np.bool_)
    answered_at = np.sort(np.minimum(due + latencies, np.nextafter(seconds, 0))[succeeded])
    return Measurement(
        seconds=seconds,
        due=due,
        latencies=np.array(latencies, dtype=np.float64),
        lags=np.full(n, lag),
        outcomes=outcomes,
        answered_at=answered_at,
        texts_answered=4 * len(answered_at),
        unfinished=3,
        cpu_share=cpu_share,
        cpu_per_request=150e-6,
        ending=ending,
    )


async def answer_like_tei(request: web.Request) -> web.Response:
    """Right answers in the shapes of `/embed`, `/similarity` and `/v1/embeddings`."""
    body = await request.json()
    if request.path == "/v1/embeddings":
        data = [{"object": "embedding", "embedding": "AACAPw==", "index": i} for i in range(len(body["input"]))]
        return web.json_response({"object": "list", "data": data, "model": body["model"], "usage": {"details": None}})
    if request.path == "/similarity":
        return web.json_response([0.5] * len(body["inputs"]["sentences"]))
    count = 1 if isinstance(body["inputs"], str) else len(body["inputs"])
    return web.json_response([[0.25, -1e-05]] * count)


def make_app(handler: Handler) -> web.Application:
    app = web.Application()
    app.router.add_post("/{path:.*}", handler)
    return app


class StubServer:
    """Runs in a thread of its own, so that a command under test may own the main one."""

    def __init__(self) -> None:
        self.handler: Handler = answer_like_tei
        self.received: list[str] = []
        """Paths, in the order of arrival."""
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.received.append(request.path)
        return await self.handler(request)


@pytest.fixture
def stub_server() -> Iterator[StubServer]:
    server = StubServer()
    started = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        runner = web.AppRunner(make_app(server.handle), shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        started.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    assert started.wait(10)
    yield server
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)
    loop.close()
