"""An engine is killed under load: whoever was waiting is told at once, and service is soon what it was."""

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from loadtest.arrivals import open_loop
from loadtest.client import Client, Endpoint
from loadtest.corpus import MOST_TEXTS, generate_texts, split_into_requests
from loadtest.routes import ROUTES
from tests.acceptance.conftest import Record
from tests.acceptance.load import MANY_CLIENTS, answers_per_second, clients, measure
from tests.acceptance.test_termination import outcome_of
from tests.e2e.conftest import SHIPPED, RunningServer, serve

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc to find the engines"),
]

SECONDS_BEFORE = 3.0
SECONDS_AFTER = 6.0
LOAD = 0.5
"""Of what the server can do: one engine of two carries it."""
CONNECTIONS = 256
HELD_SECONDS = 0.1
"""So long it is stopped before it is killed: it has taken a batch by then, and has not embedded it."""
MOST_WAIT = 1.0
MOST_RECOVERY = 5.0


@dataclass(frozen=True)
class Answer:
    """One request's fate; times are of the monotonic clock."""

    sent: float
    answered: float
    outcome: str


def test_a_killed_engine_is_told_of_at_once_and_replaced(tmp_path: Path, record: Record) -> None:
    with serve(SHIPPED, tmp_path / "log", "--workers", "2", "--cache-bytes", "0") as server:
        (full,) = measure(server.url, clients(MANY_CLIENTS, seconds=3.0), seconds=3.0)
        answers, killed, recovered = asyncio.run(load_and_kill(server, rate=LOAD * answers_per_second(full)))
    in_flight = [answer for answer in answers if answer.sent <= killed < answer.answered]
    later = [answer for answer in answers if answer.sent > recovered]
    longest = max(answer.answered - max(answer.sent, killed) for answer in answers)
    record(
        "crash",
        {
            "outcomes": Counter(answer.outcome for answer in answers),
            "in_flight": len(in_flight),
            "longest_wait_seconds": round(longest, 3),
            "recovery_seconds": round(recovered - killed, 3),
        },
    )
    assert in_flight
    assert {answer.outcome for answer in answers} == {"HTTP 200", "HTTP 503"}, "its batch fails, and nothing else"
    assert {answer.outcome for answer in later} == {"HTTP 200"}
    assert longest <= MOST_WAIT
    assert recovered - killed <= MOST_RECOVERY


async def load_and_kill(server: RunningServer, *, rate: float) -> tuple[list[Answer], float, float]:
    """What became of all requests, when an engine was killed, and when the server called itself healthy again."""
    endpoint = Endpoint.from_url(f"{server.url}/embed")
    batches = split_into_requests(generate_texts(MOST_TEXTS, seed=0), 1)
    client = Client(endpoint, connections=CONNECTIONS)
    answers: list[Answer] = []
    began = time.monotonic()

    async def send(request: bytes) -> None:
        sent = time.monotonic()
        outcome = await outcome_of(client, request)
        answers.append(Answer(sent, time.monotonic(), outcome))

    async with asyncio.TaskGroup() as tasks:
        killing = tasks.create_task(kill_one(server))
        times = open_loop("poisson", rate=rate, seconds=SECONDS_BEFORE + SECONDS_AFTER, seed=0).times.tolist()
        for number, due in enumerate(times):
            await asyncio.sleep(began + due - time.monotonic())
            batch = batches[number % len(batches)]
            tasks.create_task(send(endpoint.request(ROUTES["embed"].encode(batch, ""))))
    await client.close()
    killed, recovered = killing.result()
    return answers, killed, recovered


async def kill_one(server: RunningServer) -> tuple[float, float]:
    await asyncio.sleep(SECONDS_BEFORE)
    endpoint = Endpoint.from_url(f"{server.url}/health")
    request = f"GET /health HTTP/1.1\r\nHost: {endpoint.authority}\r\n\r\n".encode()
    probe = Client(endpoint, connections=1)
    engine = server.engines()[0]
    os.kill(engine, signal.SIGSTOP)
    await asyncio.sleep(HELD_SECONDS)
    killed = time.monotonic()
    os.kill(engine, signal.SIGKILL)
    for awaited in ("HTTP 503", "HTTP 200"):
        while await outcome_of(probe, request) != awaited:
            assert time.monotonic() - killed < 2 * MOST_RECOVERY, f"/health never said {awaited}"
            await asyncio.sleep(0.005)
    await probe.close()
    return killed, time.monotonic()
