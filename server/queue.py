"""The queue between requests and workers, all of one event loop. Knows neither HTTP nor ONNX.

There is no timer: a free worker takes the next batch at once, so batches grow only because the workers are busy.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bundle.arrays import Ids
from server.batching import BatchLimits, Cost, choose
from server.errors import OverloadedError, UnhealthyError
from server.jobs import LANES, Batch, Item, Job, Lane
from server.lanes import Lanes
from server.pace import Pace

# A short queue is split between idle workers, but not into pieces that are smaller than this.
SMALLEST_SHARE = 128
LONGEST_RETRY = 60
# So long after the last interactive request bulk batches stay small.
INTERACTIVE_SECONDS = 1.0


@dataclass(frozen=True)
class QueueLimits:
    """How much may wait."""

    items: int = 4096
    tokens: int = 262_144
    seconds: float = math.inf
    """How long the interactive texts that wait may take, by the pace that was measured."""


@dataclass(frozen=True)
class Depth:
    """How much waits."""

    items: int
    tokens: int
    oldest_seconds: float
    bulk_items: int
    """How many of the items are in no hurry."""


class BatchQueue:
    """Admits requests as a whole or not at all, shares identical texts, and hands batches to workers."""

    def __init__(
        self,
        limits: QueueLimits,
        batch_limits: BatchLimits,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self._batch_limits = batch_limits
        self._clock = clock
        self._waiting = Lanes()
        self._in_flight: dict[bytes, Item] = {}  # waiting or being embedded
        self._reserved = dict.fromkeys(LANES, 0)
        self._workers = 0
        self._idle: list[asyncio.Future[None]] = []  # what workers without work wait for
        self._closed = False
        self._last_interactive = -math.inf
        self._pace = Pace()

    # Called by whoever serves requests.

    def reserve(self, items: int, lane: Lane = "interactive") -> None:
        """Claim room for texts whose lengths are not known yet, so that overload is refused before any work.

        Raises:
            OverloadedError: the queue is full.
            UnhealthyError: there is no worker.
        """
        # Every text has at least one token.
        self._admit(items, tokens=items)
        if refusal := self.refusal():
            raise refusal
        self._reserved[lane] += items

    def release(self, items: int, lane: Lane = "interactive") -> None:
        """Return what `reserve` claimed."""
        self._reserved[lane] -= items

    def refuses(self, coming: int = 0) -> bool:
        """Whether `refusal` has a reason: a tenth of the work of telling it."""
        return self._wait(coming) > self._limits.seconds

    def refusal(self, coming: int = 0) -> OverloadedError | None:
        """Why whatever is asked for now would be refused: what waits, with `coming` texts more, takes too long."""
        if (wait := self._wait(coming)) <= self._limits.seconds:
            return None
        return self._overloaded("seconds", f"what waits takes {wait:.3f} s, at most {self._limits.seconds:g} s may it")

    def submit(self, job: Job, texts: Sequence[Ids]) -> int:
        """Queue all `texts`, row by row of `job`, or none; returns how many rows share an item with another row.

        Raises:
            OverloadedError: the queue has no room for all of them.
            UnhealthyError: there is no worker.
        """
        now = self._clock()
        kind = b"" if job.pooled else b"tokens"
        keys = [kind + ids.tobytes() for ids in texts]
        fresh = {key: ids for key, ids in zip(keys, texts, strict=True) if key not in self._in_flight}
        tokens = sum(len(ids) for ids in fresh.values())
        self._admit(len(fresh), tokens)
        if job.lane == "interactive":
            self._last_interactive = now
        for key, ids in fresh.items():
            self._in_flight[key] = item = Item(ids, key, now, job.deadline, job.lane, job.pooled)
            self._waiting.add(item)
        for row, key in enumerate(keys):
            item = self._in_flight[key]
            item.join(job, row)
            if job.lane == "interactive" and item.lane == "bulk":
                self._waiting.hurry(item)
        if fresh:
            self._wake()
        return len(keys) - len(fresh)

    def withdraw(self, job: Job) -> int:
        """Forget `job`; texts nobody else waits for leave the queue. Returns how many left."""
        dropped = 0
        for item in job.items:
            item.waiters.pop(job, None)
            if not item.waiters and item in self._waiting:
                self._remove(item)
                dropped += 1
        return dropped

    def depth(self) -> Depth:
        """How much waits right now; texts that are still being tokenised count as items."""
        oldest = self._waiting.oldest()
        age = 0.0 if oldest is None else self._clock() - oldest
        return Depth(self._count_reserved(), self._waiting.tokens(), age, bulk_items=self._waiting.count("bulk"))

    # Called by workers.

    def worker_up(self) -> None:
        """A worker is ready to take batches."""
        self._workers += 1

    def worker_down(self) -> list[Item]:
        """A worker is gone. With the last one everything that waits leaves the queue: the caller must fail it."""
        self._workers -= 1
        return self._remove_all() if self._workers == 0 else []

    async def take(self, cost: Cost) -> Batch | None:
        """Wait for work and take the next batch that suits an engine of this `cost`; None when the queue is closed."""
        while not self._waiting and not self._closed:
            await self._work_or_end()
        if self._closed:
            return None
        batch = self._next_batch(self._waiting.next_lane(), cost)
        if self._waiting:
            self._wake()  # one worker wakes the next, and only while there is work
        return batch

    def finish(self, batch: Batch, seconds: float | None) -> None:
        """`batch` is embedded (in `seconds`) or has failed (None): later texts no longer join its items."""
        for item in batch.items:
            del self._in_flight[item.key]
        if seconds is not None and batch.tokens:
            self._pace.note(len(batch.items), batch.tokens, seconds)

    def close(self) -> list[Item]:
        """Send the workers home; what still waits leaves the queue: the caller must fail it."""
        self._closed = True
        while self._idle:
            self._wake()
        return self._remove_all()

    async def _work_or_end(self) -> None:
        waiting = asyncio.get_running_loop().create_future()
        self._idle.append(waiting)
        try:
            await waiting
        except asyncio.CancelledError:
            if waiting in self._idle:
                self._idle.remove(waiting)
            elif self._waiting:
                self._wake()  # somebody else has to do what this worker was woken for
            raise

    def _wake(self) -> None:
        """Wake the worker that was busy last: its caches are the warmest."""
        while self._idle:
            waiting = self._idle.pop()
            if not waiting.done():  # else its worker is being cancelled
                waiting.set_result(None)
                return

    def _admit(self, items: int, tokens: int) -> None:
        if self._workers == 0 or self._closed:
            raise UnhealthyError("no engine worker is running; try again later")
        waiting = self._count_reserved()
        if items == 0 or waiting == 0:
            return  # an empty queue takes any request, or the largest ones could never be served
        if waiting + items > self._limits.items:
            raise self._overloaded("items", f"{waiting} texts wait, at most {self._limits.items} may")
        waiting_tokens = self._waiting.tokens()
        if waiting_tokens + tokens > self._limits.tokens:
            raise self._overloaded("tokens", f"{waiting_tokens} tokens wait, at most {self._limits.tokens} may")

    def _wait(self, coming: int) -> float:
        """Seconds that the interactive texts that wait may take, with `coming` more."""
        tokens = self._waiting.tokens("interactive") + self._pace.tokens(self._reserved["interactive"] + coming)
        return self._pace.seconds(tokens, workers=self._workers)

    def _overloaded(self, reason: str, detail: str) -> OverloadedError:
        seconds = self._pace.seconds(self._waiting.tokens(), workers=self._workers)
        retry_after = min(max(math.ceil(seconds), 1), LONGEST_RETRY)
        return OverloadedError(f"Model is overloaded: {detail}", reason=reason, retry_after=retry_after)

    def _next_batch(self, lane: Lane, cost: Cost) -> Batch:
        now = self._clock()
        window = self._waiting.first(lane, self._batch_limits.look_ahead)
        expired = [item for item in window if item.deadline <= now]
        for item in expired:
            self._remove(item)
        live = [item for item in window if item.deadline > now]
        if not live:
            return Batch([], expired, cost=0)
        live = [item for item in live if item.pooled == live[0].pooled]
        lengths = [len(item.ids) for item in live]
        picked = choose(lengths, cost, tokens=self._token_budget(lane, now), items=self._batch_limits.items)
        items = [live[i] for i in picked]
        for item in items:
            self._waiting.remove(item)
        return Batch(items, expired, cost=cost([len(item.ids) for item in items]))

    def _token_budget(self, lane: Lane, now: float) -> int:
        fair_share = math.ceil(self._waiting.tokens() / (len(self._idle) + 1))
        disturbs = lane == "bulk" and now - self._last_interactive < INTERACTIVE_SECONDS
        most = min(self._batch_limits.tokens, self._batch_limits.bulk_tokens if disturbs else math.inf)
        return int(min(most, max(fair_share, SMALLEST_SHARE)))

    def _count_reserved(self) -> int:
        """With what is still being tokenised."""
        return len(self._waiting) + sum(self._reserved.values())

    def _remove(self, item: Item) -> None:
        self._waiting.remove(item)
        del self._in_flight[item.key]

    def _remove_all(self) -> list[Item]:
        items = list(self._waiting)
        for item in items:
            self._remove(item)
        return items
