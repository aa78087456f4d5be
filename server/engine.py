"""Worker threads around encoders: take a batch, embed it, hand the vectors back to the event loop.

Knows neither HTTP nor how batches are chosen. A failing batch fails only its own texts. A worker whose encoder is
broken fails what it holds, makes `healthy` false and opens a new encoder, waiting longer after each failure.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, suppress

import numpy as np

from bundle.arrays import Ids, Vectors, flatten
from bundle.errors import DiscoError
from bundle.runtime import TokenEncoder
from server.errors import BackendError, EngineDiedError, RequestTimeoutError, UnhealthyError
from server.jobs import Batch, fail_items
from server.metrics import ModelMetrics
from server.queue import BatchQueue

logger = logging.getLogger(__name__)

FIRST_BACKOFF = 0.1
LONGEST_BACKOFF = 10.0
# No batch takes this long: a worker that is still at one has hung, and only a new process helps.
STALLED_AFTER = 30.0
STOP_PATIENCE = 5.0


Open = Callable[[], AbstractContextManager[TokenEncoder]]
"""Opens an encoder, which its context manager closes."""


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
            _Worker(open_encoder, queue, metrics, number=number, probe=probe, first_backoff=first_backoff)
            for number in range(workers)
        ]

    async def start(self) -> None:
        """Open and warm up an encoder per worker, all at once.

        Raises:
            DiscoError: an encoder cannot be opened; no worker is left running.
        """
        loop = asyncio.get_running_loop()
        opened = [asyncio.wrap_future(worker.launch(loop)) for worker in self._workers]
        results = await asyncio.gather(*opened, return_exceptions=True)
        failures = [result for result in results if isinstance(result, BaseException)]
        if failures:
            await self.stop()
            raise failures[0]

    async def stop(self) -> None:
        """Let every worker finish its batch, then end it. What still waits in the queue fails."""
        fail_items(self._queue.close(), UnhealthyError("the server is shutting down"))
        for worker in self._workers:
            worker.closing.set()
        running = [worker for worker in self._workers if worker.is_alive()]
        await asyncio.gather(*(asyncio.to_thread(worker.join, STOP_PATIENCE) for worker in running))

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


class _Worker(threading.Thread):
    """One thread with one encoder, replaced when it breaks."""

    def __init__(
        self,
        open_encoder: Open,
        queue: BatchQueue,
        metrics: ModelMetrics,
        *,
        number: int,
        probe: Ids,
        first_backoff: float,
    ) -> None:
        # A daemon, so that a hung batch cannot keep a process alive whose drain time is over.
        super().__init__(name=f"engine-{number}", daemon=True)
        self._open_encoder = open_encoder
        self._queue = queue
        self._metrics = metrics
        self._probe = flatten([probe])
        self._first_backoff = self._backoff = first_backoff
        self._loop: asyncio.AbstractEventLoop
        self._opened: Future[None] = Future()
        self._batch: Batch | None = None
        self._batch_since = 0.0
        self.alive = False
        self.closing = threading.Event()
        self.description = ""
        self.encodes_tokens = False

    def launch(self, loop: asyncio.AbstractEventLoop) -> Future[None]:
        """Start the thread; the future tells when its first encoder is ready, or why it cannot be."""
        self._loop = loop
        self.start()
        return self._opened

    @property
    def stalled(self) -> bool:
        return self._batch is not None and time.monotonic() - self._batch_since > STALLED_AFTER

    def run(self) -> None:
        try:
            self._serve_once()
        except BaseException as error:  # noqa: BLE001  handed to whoever starts the engine
            self._opened.set_exception(error)
            return
        while not self.closing.wait(self._backoff):
            self._backoff = min(2 * self._backoff, LONGEST_BACKOFF)
            try:
                self._serve_once()
            except Exception:
                logger.exception("%s cannot be restarted; next try in %.1f s", self.name, self._backoff)

    def _serve_once(self) -> None:
        """Serve with one encoder until it breaks or the queue closes.

        Raises:
            DiscoError: it cannot be opened, or does not work.
        """
        with self._open_encoder() as encoder:
            encoder.encode(*self._probe)
            self.description = encoder.description
            self.encodes_tokens = encoder.encodes_tokens
            if self._opened.done():
                self._metrics.restarts.inc()
            self._serve_until_broken(encoder)

    def _serve_until_broken(self, encoder: TokenEncoder) -> None:
        """Take batches until the queue closes or the encoder no longer works."""
        self._queue.worker_up()
        self.alive = True
        if not self._opened.done():
            self._opened.set_result(None)
        try:
            while (batch := self._queue.take(encoder.cost)) is not None:
                self._batch_since = time.monotonic()
                self._batch = batch
                self._embed(encoder, batch)
                self._batch = None
        except BaseException:  # the process boundary: whatever it was, requests get an answer and service returns
            logger.exception("%s has died and will be restarted", self.name)
        finally:
            self.alive = False
            stranded = self._queue.worker_down()
            self._post(fail_items, stranded, UnhealthyError("the last engine worker has died; try again later"))
            if self._batch is not None:
                self._fail(self._batch, UnhealthyError("the engine worker died while embedding this; try again"))

    def _embed(self, encoder: TokenEncoder, batch: Batch) -> None:
        if batch.expired:
            self._metrics.dropped["expired"].inc(len(batch.expired))
            self._post(fail_items, batch.expired, RequestTimeoutError("the deadline passed while the text was queued"))
        if not batch.items:
            return
        started = time.monotonic()
        try:
            rows = _encode(encoder, batch)
        except EngineDiedError:
            raise
        except Exception:
            logger.exception("%s: a batch of %d texts, %d tokens failed", self.name, len(batch.items), batch.tokens)
            self._fail(batch, BackendError("Backend error: the model failed on this batch; the server's log says why"))
            encoder.encode(*self._probe)  # was it the batch or the encoder?
            return
        seconds = time.monotonic() - started
        self._backoff = self._first_backoff
        self._settle(batch, seconds)
        self._post(_deliver, batch, rows, started, seconds)
        self._metrics.batch_done(batch)

    def _fail(self, batch: Batch, error: DiscoError) -> None:
        self._settle(batch, None)
        self._post(fail_items, batch.items, error)

    def _settle(self, batch: Batch, seconds: float | None) -> None:
        self._queue.finish(batch, seconds)
        self._batch = None

    def _post(self, deliver: Callable[..., None], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is waiting any more
            self._loop.call_soon_threadsafe(deliver, *arguments)


def _encode(encoder: TokenEncoder, batch: Batch) -> Sequence[Vectors]:
    """What each of the batch's texts is to become."""
    ids, offsets = flatten([item.ids for item in batch.items])
    vectors = encoder.encode(ids, offsets) if batch.pooled else encoder.encode_tokens(ids, offsets)
    expected = (len(batch.items) if batch.pooled else len(ids), encoder.dimension)
    if vectors.shape != expected:
        raise ValueError(f"the encoder returned {vectors.shape}, expected {expected}")
    if not np.isfinite(vectors).all():
        raise ValueError("the encoder returned values that are not finite")
    return list(vectors) if batch.pooled else np.split(vectors, offsets[1:-1])


def _deliver(batch: Batch, rows: Sequence[Vectors], started: float, seconds: float) -> None:
    for item, vector in zip(batch.items, rows, strict=True):
        queued = max(started - item.arrived, 0.0)
        for job, places in item.waiters.items():
            job.resolve(places, vector, queue_seconds=queued, inference_seconds=seconds)
