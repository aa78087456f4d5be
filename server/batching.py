"""The queue between requests and workers, and which texts run together. Knows neither HTTP, asyncio nor ONNX.

There is no timer: a free worker takes the next batch at once, so batches grow only because the workers are busy.
`choose` is a pure function. All state of `BatchQueue` is guarded by its one lock, which is never held while texts are
tokenised or embedded.
"""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from bundle.arrays import Ids
from server.errors import OverloadedError, UnhealthyError
from server.jobs import Batch, Item, Job

Cost = Callable[[Sequence[int]], int]
"""What a batch of texts of these lengths costs, in tokens really computed: `Encoder.cost`."""

# A batch may waste this much on padding. The floor is about what starting one more batch costs.
WASTE_SHARE = 0.25
WASTE_FLOOR = 64
# A short queue is split between idle workers, but not into pieces that are smaller than this.
SMALLEST_SHARE = 128
LONGEST_RETRY = 60


@dataclass(frozen=True)
class BatchLimits:
    """How large a batch may be; one text is always allowed."""

    tokens: int = 1024
    """Padding included."""
    items: int = 64
    look_ahead: int = 256
    """How many of the oldest waiting texts are considered."""


@dataclass(frozen=True)
class QueueLimits:
    """How much may wait."""

    items: int = 4096
    tokens: int = 262_144


@dataclass(frozen=True)
class Depth:
    """How much waits."""

    items: int
    tokens: int
    oldest_seconds: float


def choose(lengths: Sequence[int], cost: Cost, *, tokens: int, items: int) -> list[int]:
    """Pick the texts that run together with the oldest one.

    `lengths` are in order of arrival; index 0 is always picked, so nothing starves. Neighbours in length join, the
    nearest first, while the batch costs at most `tokens`, has at most `items` texts, and wastes little on padding:
    a long outlier runs alone instead of dragging short texts along.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    ascending = [lengths[i] for i in order]
    low = order.index(0)
    high = low + 1
    below, above = 0, len(order)  # how far the range [low, high) may still grow
    while high - low < items and (low > below or high < above):
        step_down = ascending[low] - ascending[low - 1] if low > below else math.inf
        step_up = ascending[high] - ascending[high - 1] if high < above else math.inf
        downwards = step_down <= step_up
        candidate = ascending[low - 1 : high] if downwards else ascending[low : high + 1]
        if _fits(candidate, cost, tokens):
            low, high = (low - 1, high) if downwards else (low, high + 1)
        elif downwards:
            below = low
        else:
            above = high
    return order[low:high]


def _fits(lengths: Sequence[int], cost: Cost, tokens: int) -> bool:
    price = cost(lengths)
    return price <= tokens and price - sum(lengths) <= max(WASTE_FLOOR, WASTE_SHARE * price)


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
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._waiting: OrderedDict[bytes, Item] = OrderedDict()
        self._in_flight: dict[bytes, Item] = {}  # waiting or being embedded
        self._waiting_tokens = 0
        self._reserved = 0
        self._workers = 0
        self._idle = 0
        self._closed = False
        self._seconds_per_token = 0.0  # of one worker, smoothed

    # Called by whoever serves requests.

    def reserve(self, items: int) -> None:
        """Claim room for texts whose lengths are not known yet, so that overload is refused before any work.

        Raises:
            OverloadedError: the queue is full.
            UnhealthyError: there is no worker.
        """
        with self._lock:
            # Every text has at least one token.
            self._admit(items, tokens=items)
            self._reserved += items

    def release(self, items: int) -> None:
        """Return what `reserve` claimed."""
        with self._lock:
            self._reserved -= items

    def submit(self, job: Job, texts: Sequence[Ids]) -> int:
        """Queue all `texts`, row by row of `job`, or none; returns how many rows share an item with another row.

        Raises:
            OverloadedError: the queue has no room for all of them.
            UnhealthyError: there is no worker.
        """
        now = self._clock()
        keys = [ids.tobytes() for ids in texts]
        with self._lock:
            fresh = {key: ids for key, ids in zip(keys, texts, strict=True) if key not in self._in_flight}
            tokens = sum(len(ids) for ids in fresh.values())
            self._admit(len(fresh), tokens)
            for key, ids in fresh.items():
                self._in_flight[key] = self._waiting[key] = Item(ids, key, now, job.deadline)
            self._waiting_tokens += tokens
            for row, key in enumerate(keys):
                self._in_flight[key].join(job, row)
            if fresh:
                self._work.notify()
        return len(keys) - len(fresh)

    def withdraw(self, job: Job) -> int:
        """Forget `job`; texts nobody else waits for leave the queue. Returns how many left."""
        dropped = 0
        with self._lock:
            for item in job.items:
                item.waiters.pop(job, None)
                if not item.waiters and self._waiting.get(item.key) is item:
                    self._remove(item)
                    dropped += 1
        return dropped

    def depth(self) -> Depth:
        """How much waits right now; texts that are still being tokenised count as items."""
        with self._lock:
            oldest = next(iter(self._waiting.values()), None)
            age = self._clock() - oldest.arrived if oldest else 0.0
            return Depth(len(self._waiting) + self._reserved, self._waiting_tokens, age)

    # Called by workers.

    def worker_up(self) -> None:
        """A worker is ready to take batches."""
        with self._lock:
            self._workers += 1

    def worker_down(self) -> list[Item]:
        """A worker is gone. With the last one everything that waits leaves the queue: the caller must fail it."""
        with self._lock:
            self._workers -= 1
            return self._remove_all() if self._workers == 0 else []

    def take(self, cost: Cost) -> Batch | None:
        """Wait for work and take the next batch that suits an engine of this `cost`; None when the queue is closed."""
        with self._lock:
            while not self._waiting and not self._closed:
                self._idle += 1
                self._work.wait()
                self._idle -= 1
            if self._closed:
                return None
            batch = self._next_batch(cost)
            if self._waiting:
                self._work.notify()  # one worker wakes the next, and only while there is work
            return batch

    def finish(self, batch: Batch, seconds: float | None) -> None:
        """`batch` is embedded (in `seconds`) or has failed (None): later texts no longer join its items."""
        with self._lock:
            for item in batch.items:
                del self._in_flight[item.key]
            if seconds is not None and batch.tokens:
                latest = seconds / batch.tokens
                self._seconds_per_token += (latest - self._seconds_per_token) * (0.1 if self._seconds_per_token else 1)

    def close(self) -> list[Item]:
        """Send the workers home; what still waits leaves the queue: the caller must fail it."""
        with self._lock:
            self._closed = True
            self._work.notify_all()
            return self._remove_all()

    # The lock is held below.

    def _admit(self, items: int, tokens: int) -> None:
        if self._workers == 0 or self._closed:
            raise UnhealthyError("no engine worker is running; try again later")
        waiting = len(self._waiting) + self._reserved
        if items == 0 or waiting == 0:
            return  # an empty queue takes any request, or the largest ones could never be served
        if waiting + items > self._limits.items:
            raise self._overloaded("items", f"{waiting} texts wait, at most {self._limits.items} may")
        if self._waiting_tokens + tokens > self._limits.tokens:
            raise self._overloaded("tokens", f"{self._waiting_tokens} tokens wait, at most {self._limits.tokens} may")

    def _overloaded(self, reason: str, detail: str) -> OverloadedError:
        seconds = self._waiting_tokens * self._seconds_per_token / max(self._workers, 1)
        retry_after = min(max(math.ceil(seconds), 1), LONGEST_RETRY)
        return OverloadedError(f"Model is overloaded: {detail}", reason=reason, retry_after=retry_after)

    def _next_batch(self, cost: Cost) -> Batch:
        now = self._clock()
        window = list(islice(self._waiting.values(), self._batch_limits.look_ahead))
        expired = [item for item in window if item.deadline <= now]
        for item in expired:
            self._remove(item)
        live = [item for item in window if item.deadline > now]
        if not live:
            return Batch([], expired, cost=0)
        lengths = [len(item.ids) for item in live]
        picked = choose(lengths, cost, tokens=self._token_budget(), items=self._batch_limits.items)
        items = [live[i] for i in picked]
        for item in items:
            del self._waiting[item.key]
            self._waiting_tokens -= len(item.ids)
        return Batch(items, expired, cost=cost([len(item.ids) for item in items]))

    def _token_budget(self) -> int:
        fair_share = math.ceil(self._waiting_tokens / (self._idle + 1))
        return min(self._batch_limits.tokens, max(fair_share, SMALLEST_SHARE))

    def _remove(self, item: Item) -> None:
        del self._waiting[item.key]
        del self._in_flight[item.key]
        self._waiting_tokens -= len(item.ids)

    def _remove_all(self) -> list[Item]:
        items = list(self._waiting.values())
        for item in items:
            self._remove(item)
        return items
