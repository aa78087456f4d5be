"""All workers of one model, started and stopped together, and how they do. Knows not what they do with a batch."""

import asyncio
import contextvars

from bundle.arrays import Ids
from server.backoff import FIRST_BACKOFF
from server.errors import UnhealthyError
from server.jobs import fail_items
from server.metrics import ModelMetrics
from server.queue import BatchQueue
from server.worker import Open, Worker

STOP_PATIENCE = 5.0


class Engine:
    """Some workers that serve one queue."""

    def __init__(
        self,
        open_encoder: Open,
        queue: BatchQueue,
        metrics: ModelMetrics,
        *,
        workers: int,
        probe: Ids,
        first_backoff: float = FIRST_BACKOFF,
    ) -> None:
        """`probe` is a short text's ids: embedding it warms an encoder up, and tells whether it still works."""
        self._queue = queue
        self._workers = [
            Worker(open_encoder, queue, metrics, name=f"engine {number}", probe=probe, first_backoff=first_backoff)
            for number in range(workers)
        ]
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Open and warm up an encoder per worker, all at once.

        Raises:
            DiscoError: an encoder cannot be opened; no worker is left running.
        """
        # Each in a context of its own: what they log one day is no part of the request that had them started.
        self._tasks = [asyncio.create_task(worker.run(), context=contextvars.Context()) for worker in self._workers]
        results = await asyncio.gather(*(worker.opened for worker in self._workers), return_exceptions=True)
        failures = [result for result in results if isinstance(result, BaseException)]
        if failures:
            await self.stop()
            raise failures[0]

    async def stop(self) -> None:
        """Let every worker finish its batch, then end it. What still waits in the queue fails."""
        fail_items(self._queue.close(), UnhealthyError("the server is shutting down"))
        for worker in self._workers:
            worker.closing.set()
        if self._tasks:
            _, hung = await asyncio.wait(self._tasks, timeout=STOP_PATIENCE)
            for task in hung:
                task.cancel()
            await asyncio.gather(*hung, return_exceptions=True)

    @property
    def description(self) -> str:
        """The encoder in a few words."""
        return self._workers[0].description

    @property
    def encodes_tokens(self) -> bool:
        """Whether texts can be embedded without pooling."""
        return self._workers[0].encodes_tokens

    @property
    def alive(self) -> int:
        """How many workers can take work."""
        return sum(worker.alive for worker in self._workers)

    @property
    def healthy(self) -> bool:
        """Whether every worker can take work and none has hung."""
        return all(worker.alive and not worker.stalled for worker in self._workers)
