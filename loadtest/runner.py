"""Runs a load against a client and times every request. Knows neither what is sent nor what is concluded.

In an open loop latency counts from the moment a request was due: if the server stalls for a second, the requests
that real users would have sent in that second are late too, and the percentiles show it ("coordinated omission" is
what forgetting them is called). How late this process itself was is recorded apart, as its lag.
"""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from loadtest.arrivals import ClosedLoop, Load, OpenLoop
from loadtest.client import Client, Reply, TransferError
from loadtest.measurement import OK, Ending, Measurement, Recorder
from loadtest.request import INVALID, Request
from loadtest.tally import Tally

TIMEOUT = "timeout"


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


async def probe(client: Client, request: Request, *, timeout: float) -> bytes:
    """Send one request and return its answer; whether a load makes sense at all is seen that way.

    Raises:
        ServerError: no connection, no timely answer, not status 200, or not the route's kind of answer.
    """
    try:
        async with asyncio.timeout(timeout):
            reply = await client.send(request.wire)
    except TransferError as error:
        raise ServerError(f"{error} ({error.__cause__}); is the server running there?") from error
    except TimeoutError as error:
        raise ServerError(f"no answer within {timeout:g} s") from error
    if reply.status != 200:
        raise ServerError(f"answered HTTP {reply.status}; does it offer this route and form, and is it ready?")
    if request.judge(reply.body) == INVALID:
        raise ServerError("answered HTTP 200, but not with what this route promises; see --routes and --forms")
    return reply.body


async def run(
    client: Client, requests: Iterator[Request], load: Load, limits: Limits, tally: Tally | None = None
) -> Measurement:
    """Apply `load`, sending one request after the other, for at most warm-up + duration + timeout seconds.

    Cancelling ends the run early; what was measured until then is still returned. `tally` is kept up to date.
    """
    return await _Run(client, requests, limits, tally or Tally()).measure(load)


class _StopError(Exception):
    """Raised by a request to cancel all the others."""


class _Run:
    def __init__(self, client: Client, requests: Iterator[Request], limits: Limits, tally: Tally) -> None:
        self._client = client
        self._requests = requests
        self._limits = limits
        self._recorder = Recorder()
        self._tally = tally
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
        cpu = time.process_time() - cpu_before
        return self._recorder.measurement(
            start=self._limits.warmup,
            end=last if self._ending == "complete" else min(now, last),
            unfinished=self._tally.under_way,
            cpu_share=cpu / now,
            cpu_per_request=cpu / max(self._tally.sent, 1),
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
        if self._tally.sent == self._limits.max_requests:
            self._stop("too many requests")
        self._tally.sent += 1
        request = next(self._requests)
        lag = self._now() - due
        reply = await self._exchange(request, due)
        latency = self._now() - due  # read before the answer is judged, which is no time of the server's
        match reply:
            case Reply(200, body):
                outcome = request.judge(body)
            case Reply(status, _):
                outcome = f"HTTP {status}"
            case failure:
                outcome = failure
        self._recorder.add(due=due, lag=lag, latency=latency, texts=len(request.texts), outcome=outcome)
        self._tally.finished += 1
        if outcome != OK:
            self._tally.failed += 1
            if self._tally.failed > self._limits.max_errors:
                self._stop("too many errors")

    async def _exchange(self, request: Request, due: float) -> Reply | str:
        """The answer, or the kind of failure."""
        try:
            async with asyncio.timeout_at(self._start + due + self._limits.timeout):
                return await self._client.send(request.wire)
        except TimeoutError:
            return TIMEOUT
        except TransferError as error:
            return str(error)

    def _stop(self, ending: Ending) -> NoReturn:
        self._ending = ending
        raise _StopError

    def _now(self) -> float:
        return self._clock() - self._start
