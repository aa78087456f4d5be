"""A job's way through the queue, as the request sees it: submitted, awaited, withdrawn when nobody waits any more.

Owns the deadline; knows neither texts, routes nor ONNX.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from bundle.arrays import Ids
from server.errors import ClientGoneError, RequestTimeoutError
from server.jobs import Job, Lane
from server.metrics import ModelMetrics
from server.queue import BatchQueue

Disconnected = Callable[[], Awaitable[None]]
"""Returns once the client has gone."""

# Most answers come sooner than this, and then nobody has to watch the connection.
UNWATCHED_SECONDS = 0.02


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
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not done.done():
                done.set_result(None)

        job = Job(len(encoded), deadline=patience.deadline, on_done=wake, lane=patience.lane, pooled=pooled)
        self._metrics.shared.inc(self._queue.submit(job, encoded))
        try:
            await _wait(done, patience)
        except RequestTimeoutError:
            self._withdraw(job, "expired")
            raise
        except (ClientGoneError, asyncio.CancelledError):
            self._withdraw(job, "abandoned")
            raise
        if job.error is not None:
            self._withdraw(job, "abandoned")
            raise job.error
        return job

    def _withdraw(self, job: Job, reason: str) -> None:
        self._metrics.dropped[reason].inc(self._queue.withdraw(job))


async def _wait(done: asyncio.Future[None], patience: Patience) -> None:
    await asyncio.wait((done,), timeout=min(UNWATCHED_SECONDS, _remaining(patience.deadline)))
    if done.done():
        return
    gone = asyncio.ensure_future(patience.disconnected())
    try:
        await asyncio.wait((done, gone), timeout=_remaining(patience.deadline), return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
    if done.done():
        return
    if gone.done():
        raise ClientGoneError("the client closed the connection")
    raise RequestTimeoutError("the work was not done within this server's request timeout; send less or try later")


def _remaining(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.0)
