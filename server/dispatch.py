"""Work as the request sees it: begun, awaited, withdrawn when nobody waits any more. Jobs in the queue above all.

Owns the deadline; knows neither texts, routes nor ONNX.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bundle.arrays import Ids
from server.errors import ClientGoneError, RequestTimeoutError
from server.jobs import Job, Lane
from server.metrics import ModelMetrics
from server.queue import BatchQueue

Disconnected = Callable[[], Awaitable[None]]
"""Returns once the client has gone."""

T = TypeVar("T")

# Most answers come sooner than this, under load too, and then nobody has to watch the connection.
UNWATCHED_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Patience:
    """For how long somebody waits, and whether they are in a hurry."""

    deadline: float
    """On the monotonic clock."""
    lane: Lane
    disconnected: Disconnected


class Dispatcher:
    """Runs jobs of one queue for one event loop."""

    def __init__(self, queue: BatchQueue, metrics: ModelMetrics) -> None:
        self._queue = queue
        self._metrics = metrics

    async def run(self, encoded: Sequence[Ids], patience: Patience, *, pooled: bool) -> Job:
        """Have the texts embedded; returns the job with all its rows.

        Raises:
            OverloadedError: the queue has no room for all of them; none was queued.
            BackendError, UnhealthyError: the model failed.
            RequestTimeoutError, ClientGoneError: nobody waits any more; what was still queued never runs.
        """
        alarm = _Alarm()
        job = Job(len(encoded), deadline=patience.deadline, on_done=alarm.finish, lane=patience.lane, pooled=pooled)
        self._metrics.shared.inc(self._queue.submit(job, encoded))
        try:
            await _wait(alarm, patience)
        except RequestTimeoutError:
            self._withdraw(job, "expired")
            raise
        except (ClientGoneError, asyncio.CancelledError):
            self._withdraw(job, "abandoned")
            raise
        if job.error is not None:
            self._withdraw(job, "expired" if isinstance(job.error, RequestTimeoutError) else "failed")
            raise job.error
        return job

    def _withdraw(self, job: Job, reason: str) -> None:
        self._metrics.dropped[reason].inc(self._queue.withdraw(job))


async def wait_for(work: asyncio.Future[T], patience: Patience) -> T:
    """What `work` results in; it is cancelled where nobody waits any more.

    Raises:
        RequestTimeoutError, ClientGoneError: nobody does.
    """
    alarm = _Alarm()
    work.add_done_callback(lambda _: alarm.finish())
    try:
        await _wait(alarm, patience)
    except BaseException:
        work.cancel()
        raise
    return work.result()


class _Alarm:
    """Wakes one request: when its work is done, time is up, or its client has gone.

    `asyncio.wait` does the same with a task and three callbacks more, in a tenth of a request's whole time.
    """

    def __init__(self) -> None:
        self._finished = False
        self._loop = asyncio.get_running_loop()
        self._sleeper: asyncio.Future[None] | None = None

    def finish(self) -> None:
        """Tell that the work is done."""
        self._finished = True
        self.ring()

    def ring(self) -> None:
        """End the sleep, if there is one."""
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)

    async def sleep(self, seconds: float) -> bool:
        """Return at the first ring, after `seconds`, or at once where the work is done: whether it is."""
        if not self._finished:
            self._sleeper = self._loop.create_future()
            timer = self._loop.call_later(seconds, self.ring)
            try:
                await self._sleeper
            finally:
                timer.cancel()
        return self._finished


async def _wait(alarm: _Alarm, patience: Patience) -> None:
    if await alarm.sleep(min(UNWATCHED_SECONDS, _remaining(patience.deadline))):
        return
    gone = asyncio.ensure_future(patience.disconnected())
    gone.add_done_callback(lambda _: alarm.ring())
    try:
        if await alarm.sleep(_remaining(patience.deadline)):
            return
    finally:
        gone.cancel()
    if gone.done():
        raise ClientGoneError("the client closed the connection")
    raise RequestTimeoutError("the work was not done within this server's request timeout; send less or try later")


def _remaining(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.0)
