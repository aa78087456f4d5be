"""SIGTERM under load: probes are told first, and whoever was heard gets an answer."""

import asyncio
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from loadtest.arrivals import open_loop
from loadtest.client import Client, Endpoint, TransferError
from loadtest.corpus import MOST_TEXTS, generate_texts, split_into_requests
from loadtest.routes import ROUTES
from tests.acceptance.conftest import Record
from tests.acceptance.load import MANY_CLIENTS, answers_per_second, clients, measure
from tests.e2e.conftest import SHIPPED, RunningServer, serve

pytestmark = pytest.mark.slow

SECONDS_BEFORE = 3.0
SECONDS_AFTER = 4.0
OVERLOAD = 2.0
"""Of what the server can do: when it stops listening, a full queue is still to be worked off."""
MOST_WAIT = 1.0
CONNECTIONS = 900
"""More than are in use while the server lets nobody wait longer than that: what is due is sent at once."""
GRACE = 30.0
TEXTS = 4
DOCUMENTED = {"HTTP 200", "HTTP 429", "HTTP 503"}


@dataclass
class Log:
    """What clients and a load balancer's probe saw; times are of one clock."""

    requests: list[tuple[float, str]] = field(default_factory=list)
    """When each was sent, and what came of it."""
    probes: list[tuple[float, str]] = field(default_factory=list)
    """When a probe began, each on a connection of its own, and what came of it."""

    def probed(self, outcome: str) -> list[float]:
        return [at for at, found in self.probes if found == outcome]


def test_sigterm_loses_nothing(tmp_path: Path, record: Record) -> None:
    limits = ("--max-queue-seconds", str(MOST_WAIT), "--drain-seconds", str(int(GRACE)))
    with serve(SHIPPED, tmp_path / "log", "--cache-bytes", "0", *limits) as server:
        (full,) = measure(server.url, clients(MANY_CLIENTS, seconds=3.0, texts_per_request=TEXTS), seconds=3.0)
        log = asyncio.run(load_and_terminate(server, rate=OVERLOAD * answers_per_second(full)))
        began = time.monotonic()
        status = server.process.wait(timeout=GRACE)
        waited = time.monotonic() - began
    last_accepted = max(at for at, outcome in log.probes if outcome != "cannot connect")
    first_refused = min(log.probed("cannot connect"))
    heard = [outcome for at, outcome in log.requests if at < last_accepted]
    # Between the two, nobody outside can tell whether the server still listened.
    between = [outcome for at, outcome in log.requests if last_accepted <= at < first_refused]
    record(
        "termination",
        {
            "heard": Counter(heard),
            "while_the_listener_closed": Counter(between),
            "later": Counter(outcome for at, outcome in log.requests if at >= first_refused),
            "not_ready_before_closing_seconds": round(first_refused - min(log.probed("HTTP 503")), 3),
            "exit_status": status,
            "seconds_after_the_load": round(waited, 3),
        },
    )
    assert len(heard) > 100
    assert set(heard) <= DOCUMENTED
    assert max(log.probed("HTTP 200")) < min(log.probed("HTTP 503")) < first_refused
    assert status == 0


async def load_and_terminate(server: RunningServer, *, rate: float) -> Log:
    log = Log()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(send_all(server.url, log, rate))
        tasks.create_task(probe_all(server.url, log))
        await asyncio.sleep(SECONDS_BEFORE)
        server.process.send_signal(signal.SIGTERM)
    return log


async def send_all(url: str, log: Log, rate: float) -> None:
    endpoint = Endpoint.from_url(f"{url}/embed")
    batches = split_into_requests(generate_texts(MOST_TEXTS, seed=0), TEXTS)
    client = Client(endpoint, connections=CONNECTIONS)
    began = time.monotonic()

    async def send(request: bytes) -> None:
        at = time.monotonic()
        log.requests.append((at, await outcome_of(client, request)))

    async with asyncio.TaskGroup() as tasks:
        times = open_loop("poisson", rate=rate, seconds=SECONDS_BEFORE + SECONDS_AFTER, seed=0).times.tolist()
        for number, due in enumerate(times):
            await asyncio.sleep(began + due - time.monotonic())
            batch = batches[number % len(batches)]
            tasks.create_task(send(endpoint.request(ROUTES["embed"].encode(batch, ""))))
    await client.close()


async def probe_all(url: str, log: Log) -> None:
    endpoint = Endpoint.from_url(f"{url}/ready")
    request = f"GET /ready HTTP/1.1\r\nHost: {endpoint.authority}\r\nConnection: close\r\n\r\n".encode()
    until = time.monotonic() + SECONDS_BEFORE + SECONDS_AFTER
    while time.monotonic() < until:
        client = Client(endpoint, connections=1)
        at = time.monotonic()
        log.probes.append((at, await outcome_of(client, request)))
        await client.close()
        await asyncio.sleep(0.005)


async def outcome_of(client: Client, request: bytes) -> str:
    try:
        async with asyncio.timeout(GRACE):
            return f"HTTP {(await client.send(request)).status}"
    except TransferError as error:
        return str(error)
    except TimeoutError:
        return "timeout"
