"""Runs a load against a client and times every request. Knows neither what is sent nor what is concluded.

In an open loop latency counts from the moment a request was due: if the server stalls for a second, the requests
that real users would have sent in that second are late too, and the percentiles show it ("coordinated omission" is
what forgetting them is called). How late this process itself was is recorded apart, as its lag.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import NoReturn

from loadtest.arrivals import ClosedLoop, Load, OpenLoop
from loadtest.client import Client, TransferError
from loadtest.measurement import OK, Ending, Measurement, Recorder

TIMEOUT = "timeout"
INVALID = "invalid answer"


@dataclass(frozen=True)
class Limits:
    """When a run measures and when it stops; seconds and numbers of requests."""

    warmup: float
    duration: float
    timeout: float
    max_requests: int
    max_errors: int


class ServerError(Exception):
    """The server under test is not there or does not answer as its route should."""


async def probe(client: Client, request: bytes, is_answer: Callable[[bytes], bool], *, timeout: float) -> None:
    """Send one request to see whether a load makes sense at all.

    Raises:
        ServerError: no connection, no timely answer, not status 200, or not the route's kind of answer.
    """
    try:
        async with asyncio.timeout(timeout):
            reply = await client.send(request)
    except TransferError as error:
        raise ServerError(f"{error} ({error.__cause__}); is the server running there?") from error
    except TimeoutError as error:
        raise ServerError(f"no answer within {timeout:g} s") from error
    if reply.status != 200:
        raise ServerError(f"answered HTTP {reply.status}; does it offer this route, and is it ready?")
    if not is_answer(reply.body):
        raise ServerError("answered HTTP 200, but not with what this route promises; see --route")


async def run(
    client: Client, requests: Sequence[bytes], is_answer: Callable[[bytes], bool], load: Load, limits: Limits
) -> Measurement:
    """Apply `load`, sending `requests` in turn, for at most warm-up + duration + timeout seconds.

    Cancelling ends the run early; what was measured until then is still returned.
    """
    return await _Run(client, requests, is_answer, limits).measure(load)


class _StopError(Exception):
    """Raised by a request to cancel all the others."""


class _Run:
    def __init__(
        self, client: Client, requests: Sequence[bytes], is_answer: Callable[[bytes], bool], limits: Limits
    ) -> None:
        self._client = client
        self._requests = cycle(requests)
        self._is_answer = is_answer
        self._limits = limits
        self._recorder = Recorder()
        self._sent = self._finished = self._failed = 0
        self._ending: Ending = "complete"
        self._clock = asyncio.get_running_loop().time
        self._start = self._clock()

    async def measure(self, load: Load) -> Measurement:
        cpu_before = time.process_time()
        try:
            await self._drive(load)
        except asyncio.CancelledError:
            self._ending = "interrupted"
        now, last = self._now(), self._limits.warmup + self._limits.duration
        return self._recorder.measurement(
            start=self._limits.warmup,
            end=last if self._ending == "complete" else min(now, last),
            unfinished=self._sent - self._finished,
            cpu_share=(time.process_time() - cpu_before) / now,
            ending=self._ending,
        )

    async def _drive(self, load: Load) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                match load:
                    case OpenLoop():
                        await self._pace(load, tasks)
                    case ClosedLoop():
                        for _ in range(load.clients):
                            tasks.create_task(self._repeat(load.seconds))
        except* _StopError:
            pass  # whoever raised it has noted why

    async def _pace(self, load: OpenLoop, tasks: asyncio.TaskGroup) -> None:
        for due in load.times.tolist():
            # When late, still give the loop a turn: answers that wait to be read must not be blamed on the server.
            await asyncio.sleep(max(0, due - self._now()))
            tasks.create_task(self._request(due))

    async def _repeat(self, seconds: float) -> None:
        while (now := self._now()) < seconds:
            await self._request(now)

    async def _request(self, due: float) -> None:
        if self._sent == self._limits.max_requests:
            self._stop("too many requests")
        self._sent += 1
        lag = self._now() - due
        try:
            async with asyncio.timeout_at(self._start + due + self._limits.timeout):
                reply = await self._client.send(next(self._requests))
        except TimeoutError:
            outcome = TIMEOUT
        except TransferError as error:
            outcome = str(error)
        else:
            outcome = self._judge(reply.status, reply.body)
        self._finished += 1
        self._recorder.add(due=due, lag=lag, latency=self._now() - due, outcome=outcome)
        if outcome != OK:
            self._failed += 1
            if self._failed > self._limits.max_errors:
                self._stop("too many errors")

    def _judge(self, status: int, body: bytes) -> str:
        if status != 200:
            return f"HTTP {status}"
        return OK if self._is_answer(body) else INVALID

    def _stop(self, ending: Ending) -> NoReturn:
        self._ending = ending
        raise _StopError

    def _now(self) -> float:
        return self._clock() - self._start
