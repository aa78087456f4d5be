"""What travels between requests and workers: a request's `Job`, its texts as shared `Item`s, and a `Batch` of those.

Plain data of one event loop; an `Item`'s waiters change no more once its batch is finished.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from bundle.arrays import Ids, Vectors
from bundle.errors import DiscoError

Lane = Literal["interactive", "bulk"]
"""Whether somebody waits for the answer, or it is work in no hurry."""
LANES: tuple[Lane, ...] = get_args(Lane)

_NOTHING: Vectors = np.empty(0, dtype=np.float32)


class Job:
    """One request on its way: collects its vectors and calls `on_done` when all are there or one has failed."""

    def __init__(
        self,
        texts: int,
        *,
        deadline: float,
        on_done: Callable[[], None],
        lane: Lane = "interactive",
        pooled: bool = True,
    ) -> None:
        """`texts` ≥ 1 rows are awaited; `deadline` is on the queue's clock."""
        self.rows: list[Vectors] = [_NOTHING] * texts
        """Each text's vector, float32[dim], or its tokens', float32[length, dim], once they are there."""
        self.deadline = deadline
        self.lane = lane
        self.pooled = pooled
        self.error: DiscoError | None = None
        self.items: list[Item] = []
        self.queue_seconds = 0.0
        """Mean over the texts, as is `inference_seconds`."""
        self.inference_seconds = 0.0
        self._texts = self._missing = texts
        self._on_done = on_done

    def resolve(self, rows: list[int], vector: Vectors, *, queue_seconds: float, inference_seconds: float) -> None:
        """Put `vector` (float32[dim], or float32[length, dim]) into `rows`."""
        for row in rows:
            self.rows[row] = vector
        self.queue_seconds += queue_seconds * len(rows) / self._texts
        self.inference_seconds += inference_seconds * len(rows) / self._texts
        self._missing -= len(rows)
        if self._missing == 0 and self.error is None:
            self._on_done()

    def fail(self, error: DiscoError) -> None:
        """Give the whole request up; only the first error counts."""
        if self.error is None and self._missing > 0:
            self.error = error
            self._on_done()


@dataclass(eq=False, slots=True)
class Item:
    """One distinct text in flight, and the rows of the jobs that wait for it."""

    ids: Ids
    key: bytes
    arrived: float
    deadline: float
    """The latest of its jobs' deadlines."""
    lane: Lane = "interactive"
    """The most urgent of its jobs' lanes."""
    pooled: bool = True
    """Whether the text's vector is wanted, or those of its tokens."""
    waiters: dict[Job, list[int]] = field(default_factory=dict)

    def join(self, job: Job, row: int) -> None:
        """Let `row` of `job` receive this item's vector."""
        self.deadline = max(self.deadline, job.deadline)
        if job not in self.waiters:
            self.waiters[job] = []
            job.items.append(self)
        self.waiters[job].append(row)


@dataclass(frozen=True)
class Batch:
    """What a worker has taken: `items` to embed, and `expired` ones that only need to be told so."""

    items: list[Item]
    expired: list[Item]
    cost: int
    """In tokens, padding included."""

    @property
    def pooled(self) -> bool:
        """What is wanted of all of its texts."""
        return self.items[0].pooled

    @property
    def tokens(self) -> int:
        """Real tokens."""
        return sum(len(item.ids) for item in self.items)


def fail_items(items: Iterable[Item], error: DiscoError) -> None:
    """Tell every job that waits for one of `items`."""
    for item in items:
        for job in list(item.waiters):
            job.fail(error)
