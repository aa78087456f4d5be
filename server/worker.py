"""A worker around one encoder after the other: takes a batch, has it embedded, gives each request its vectors.

All of one event loop. Knows neither HTTP nor how batches are chosen. A failing batch fails only its own texts. A worker
whose encoder is broken fails what it holds and opens a new encoder, waiting longer after each failure.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import numpy as np

from bundle.arrays import Ids, Offsets, Vectors, flatten
from bundle.errors import DiscoError
from server.backoff import Backoff
from server.batching import Cost
from server.errors import BackendError, EngineDiedError, RequestTimeoutError, UnhealthyError
from server.jobs import Batch, fail_items
from server.metrics import ModelMetrics
from server.queue import BatchQueue

logger = logging.getLogger(__name__)

# No batch takes this long: a worker that is still at one has hung.
STALLED_AFTER = 30.0


class AsyncEncoder(Protocol):
    """A `bundle.runtime.TokenEncoder` that computes elsewhere; for one batch at a time."""

    dimension: int
    description: str
    encodes_tokens: bool
    cost: Cost

    async def encode(self, ids: Ids, offsets: Offsets, *, pooled: bool) -> Vectors:
        """Embed n texts: float32[n, dimension], or, not pooled, float32[total, dimension].

        Raises:
            EngineDiedError: there is nobody left who could; open another one.
            Exception: the batch failed.
        """
        ...

    async def ended(self) -> EngineDiedError:
        """Return, once nobody is left who could embed anything, why that is so."""
        ...


Open = Callable[[], AbstractAsyncContextManager[AsyncEncoder]]
"""Opens an encoder, which its context manager closes."""


class Worker:
    """One encoder, replaced when it breaks."""

    def __init__(
        self,
        open_encoder: Open,
        queue: BatchQueue,
        metrics: ModelMetrics,
        *,
        name: str,
        probe: Ids,
        first_backoff: float,
    ) -> None:
        self._open_encoder = open_encoder
        self._queue = queue
        self._metrics = metrics
        self._name = name
        self._probe = flatten([probe])
        self._backoff = Backoff(first_backoff)
        self._batch: Batch | None = None
        self._batch_since = 0.0
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Tells when the first encoder is ready, or why it cannot be."""
        self.closing = asyncio.Event()
        self.alive = False
        self.description = ""
        self.encodes_tokens = False

    @property
    def stalled(self) -> bool:
        """Whether it has been at one batch for too long."""
        return self._batch is not None and time.monotonic() - self._batch_since > STALLED_AFTER

    async def run(self) -> None:
        """Serve until the engine stops, with one encoder after the other."""
        while not self.closing.is_set():
            try:
                await self._serve_with_one()
            except Exception as error:
                if not self.opened.done():
                    self.opened.set_exception(error)
                    return
                logger.exception("%s cannot be restarted; next try in %.1f s", self._name, self._backoff.seconds)
            await self._backoff.wait(self.closing)

    async def _serve_with_one(self) -> None:
        """Serve with one encoder until it breaks or the queue closes.

        Raises:
            DiscoError: it cannot be opened, or does not work.
        """
        async with self._open_encoder() as encoder:
            await _vectors(encoder, *self._probe, pooled=True)
            self.description = encoder.description
            self.encodes_tokens = encoder.encodes_tokens
            if self.opened.done():
                self._metrics.restarts.inc()
            else:
                self.opened.set_result(None)
            await self._serve_until_broken(encoder)

    async def _serve_until_broken(self, encoder: AsyncEncoder) -> None:
        self._queue.worker_up()
        self.alive = True
        serving, ended = asyncio.create_task(self._serve(encoder)), asyncio.create_task(encoder.ended())
        try:
            await asyncio.wait((serving, ended), return_when=asyncio.FIRST_COMPLETED)
            if self._batch is None:
                serving.cancel()  # its wait for work would be in vain; one that holds a batch learns of it by itself
            await asyncio.wait((serving,))
            if serving.cancelled():
                raise await ended
            await serving
        except Exception:  # whatever it was, requests get an answer and service returns
            logger.exception("%s has died and will be restarted", self._name)
        finally:
            serving.cancel()
            ended.cancel()
            self.alive = False
            stranded = self._queue.worker_down()
            fail_items(stranded, UnhealthyError("the last engine worker has died; try again later"))
            if self._batch is not None:
                self._fail(self._batch, UnhealthyError("the engine worker died while embedding this; try again"))

    async def _serve(self, encoder: AsyncEncoder) -> None:
        while (batch := await self._queue.take(encoder.cost)) is not None:
            self._batch_since = time.monotonic()
            self._batch = batch
            await self._embed(encoder, batch)
            self._batch = None

    async def _embed(self, encoder: AsyncEncoder, batch: Batch) -> None:
        if batch.expired:
            self._metrics.dropped["expired"].inc(len(batch.expired))
            fail_items(batch.expired, RequestTimeoutError("the deadline passed while the text was queued"))
        if not batch.items:
            return
        started = time.monotonic()
        try:
            rows = await _encode(encoder, batch)
        except EngineDiedError:
            raise
        except Exception:
            logger.exception("%s: a batch of %d texts, %d tokens failed", self._name, len(batch.items), batch.tokens)
            self._fail(batch, BackendError("Backend error: the model failed on this batch; the server's log says why"))
            await _vectors(encoder, *self._probe, pooled=True)  # was it the batch or the encoder?
            return
        seconds = time.monotonic() - started
        self._backoff.start_over()
        self._settle(batch, seconds)
        _deliver(batch, rows, started, seconds)
        self._metrics.batch_done(batch)

    def _fail(self, batch: Batch, error: DiscoError) -> None:
        self._settle(batch, None)
        fail_items(batch.items, error)

    def _settle(self, batch: Batch, seconds: float | None) -> None:
        self._queue.finish(batch, seconds)
        self._batch = None


async def _encode(encoder: AsyncEncoder, batch: Batch) -> Sequence[Vectors]:
    """What each of the batch's texts is to become."""
    ids, offsets = flatten([item.ids for item in batch.items])
    vectors = await _vectors(encoder, ids, offsets, pooled=batch.pooled)
    return list(vectors) if batch.pooled else np.split(vectors, offsets[1:-1])


async def _vectors(encoder: AsyncEncoder, ids: Ids, offsets: Offsets, *, pooled: bool) -> Vectors:
    """`AsyncEncoder.encode`, checked.

    Raises:
        BackendError: what it returned cannot be vectors of these texts.
    """
    vectors = await encoder.encode(ids, offsets, pooled=pooled)
    expected = (len(offsets) - 1 if pooled else len(ids), encoder.dimension)
    if vectors.shape != expected:
        raise BackendError(f"Backend error: the encoder returned vectors of shape {vectors.shape}, not {expected}")
    if not np.isfinite(vectors).all():
        raise BackendError("Backend error: the encoder returned values that are not finite")
    return vectors


def _deliver(batch: Batch, rows: Sequence[Vectors], started: float, seconds: float) -> None:
    for item, vector in zip(batch.items, rows, strict=True):
        queued = max(started - item.arrived, 0.0)
        for job, places in item.waiters.items():
            job.resolve(places, vector, queue_seconds=queued, inference_seconds=seconds)
