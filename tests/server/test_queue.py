import asyncio
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.arrays import Ids
from server.batching import BatchLimits
from server.errors import OverloadedError, UnhealthyError
from server.jobs import LANES, Batch, Job, Lane
from server.lanes import BULK_TURN
from server.queue import INTERACTIVE_SECONDS, BatchQueue, QueueLimits

lengths_strategy = st.lists(st.integers(1, 300), min_size=1, max_size=80)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def padded(lengths: Sequence[int]) -> int:
    return len(lengths) * max(lengths, default=0)


def text(length: int, first: int = 0) -> Ids:
    return np.arange(first, first + length, dtype=np.int32)


def job(texts: int, deadline: float = 1e9, lane: Lane = "interactive", *, pooled: bool = True) -> Job:
    return Job(texts, deadline=deadline, on_done=lambda: None, lane=lane, pooled=pooled)


def queue(
    *,
    items: int = 100,
    tokens: int = 10_000,
    seconds: float = math.inf,
    batch: BatchLimits | None = None,
    clock: Clock | None = None,
) -> BatchQueue:
    limits = QueueLimits(items=items, tokens=tokens, seconds=seconds)
    made = BatchQueue(limits, batch or BatchLimits(), clock=clock or Clock())
    made.worker_up()
    return made


def take(waiting: BatchQueue) -> Batch:
    batch = asyncio.run(waiting.take(padded))
    assert batch is not None
    return batch


@given(lengths_strategy, st.integers(1, 20))
def test_everything_is_taken_exactly_once_and_the_oldest_first(lengths: list[int], look_ahead: int) -> None:
    waiting = queue(tokens=10**6, batch=BatchLimits(tokens=512, items=8, look_ahead=look_ahead))
    whole = job(len(lengths))
    waiting.submit(whole, [text(length, first=1000 * i) for i, length in enumerate(lengths)])
    taken: list[int] = []
    while waiting.depth().items:
        oldest = min(set(range(len(lengths))) - set(taken))
        rows = [row for item in take(waiting).items for row in item.waiters[whole]]
        assert oldest in rows
        assert max(rows) < oldest + look_ahead + len(taken)
        taken += rows
    assert sorted(taken) == list(range(len(lengths)))
    assert waiting.depth().tokens == 0


@given(st.lists(st.booleans(), min_size=1, max_size=20))
def test_a_batch_is_of_one_kind_and_kinds_share_no_work(kinds: list[bool]) -> None:
    waiting = queue()
    jobs = [job(1, pooled=pooled) for pooled in kinds]
    for each in jobs:
        waiting.submit(each, [text(3)])
    while waiting.depth().items:
        batch = take(waiting)
        (item,) = batch.items  # the same text, so there is one of each kind
        assert set(item.waiters) == {each for each in jobs if each.pooled == batch.pooled}


@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=8), max_size=12))
def test_a_request_is_admitted_whole_or_not_at_all(requests: list[list[int]]) -> None:
    waiting = queue(items=10, tokens=40)
    for number, lengths in enumerate(requests):
        before = waiting.depth()
        texts = [text(length, first=10_000 * number + 100 * i) for i, length in enumerate(lengths)]
        too_much = before.items + len(lengths) > 10 or before.tokens + sum(lengths) > 40
        if too_much and before.items > 0:
            with pytest.raises(OverloadedError):
                waiting.submit(job(len(texts)), texts)
            assert waiting.depth() == before
        else:
            waiting.submit(job(len(texts)), texts)
            after = waiting.depth()
            assert (after.items, after.tokens) == (before.items + len(lengths), before.tokens + sum(lengths))


def test_texts_being_tokenised_hold_their_place() -> None:
    waiting = queue(items=3)
    waiting.reserve(2)
    with pytest.raises(OverloadedError, match="2 texts wait, at most 3"):
        waiting.reserve(2)
    waiting.release(2)
    waiting.reserve(2)


def test_retry_after_follows_the_measured_rate() -> None:
    waiting = queue(items=4)
    waiting.submit(job(1), [text(10)])
    waiting.finish(take(waiting), seconds=10.0)  # a second per token
    waiting.submit(job(4), [text(5, first=100 * i) for i in range(4)])
    with pytest.raises(OverloadedError) as refusal:
        waiting.submit(job(1), [text(9, first=5000)])
    assert refusal.value.retry_after == 20
    assert refusal.value.reason == "items"


def paced_queue(seconds: float) -> BatchQueue:
    """One whose worker takes a second per token, and has seen texts of ten tokens."""
    waiting = queue(seconds=seconds)
    waiting.submit(job(1), [text(10)])
    waiting.finish(take(waiting), seconds=10.0)
    return waiting


@pytest.mark.parametrize("lane", LANES)
def test_a_request_is_refused_while_what_waits_takes_too_long(lane: Lane) -> None:
    waiting = paced_queue(seconds=20)
    submit_bulk(waiting, 50)  # goes last, so nobody waits for it
    waiting.submit(job(2), [text(10, first=100 * i) for i in range(2)])
    assert waiting.refusal() is None
    assert not waiting.refuses()
    waiting.submit(job(1), [text(1, first=2000)])
    with pytest.raises(OverloadedError, match=r"what waits takes 21\.000 s, at most 20 s") as refusal:
        waiting.reserve(1, lane)
    assert refusal.value.reason == "seconds"
    assert waiting.refusal() is not None
    assert waiting.refuses()
    assert take(waiting).items[0].lane == "interactive"
    waiting.reserve(1, lane)


def test_texts_being_tokenised_count_for_the_wait_with_their_usual_length() -> None:
    waiting = paced_queue(seconds=20)
    waiting.reserve(50, "bulk")
    waiting.reserve(2)
    waiting.reserve(1)
    with pytest.raises(OverloadedError, match=r"takes 30\.000 s"):
        waiting.reserve(1)
    waiting.release(1)
    waiting.reserve(1)


def test_what_was_let_in_before_is_not_refused_after_tokenising() -> None:
    waiting = paced_queue(seconds=20)
    waiting.reserve(1)
    waiting.submit(job(3), [text(10, first=100 * i) for i in range(3)])
    waiting.release(1)
    waiting.submit(job(1), [text(10, first=5000)])


def test_a_text_that_is_hurried_counts_for_the_wait_of_others() -> None:
    waiting = paced_queue(seconds=20)
    bulk = submit_bulk(waiting, 3)
    waiting.submit(job(3), [text(10, first=10_000 + 100 * i) for i in range(3)])
    assert waiting.refusal() is not None
    waiting.withdraw(bulk)
    assert waiting.refusal() is not None
    while waiting.depth().items:
        take(waiting)
    assert waiting.refusal() is None


def test_identical_texts_in_flight_share_one_item_also_with_one_being_embedded() -> None:
    waiting = queue()
    first, second = job(3), job(1)
    assert waiting.submit(first, [text(4), text(5), text(4)]) == 1
    batch = take(waiting)
    assert waiting.submit(second, [text(4)]) == 1
    assert waiting.depth().items == 0
    shared = next(item for item in batch.items if len(item.ids) == 4)
    assert shared.waiters == {first: [0, 2], second: [0]}
    waiting.finish(batch, seconds=0.1)
    assert waiting.submit(job(1), [text(4)]) == 0, "what is finished is no longer in flight"


def test_shared_work_needs_no_room() -> None:
    waiting = queue(items=1)
    waiting.submit(job(1), [text(4)])
    waiting.submit(job(1), [text(4)])
    with pytest.raises(OverloadedError):
        waiting.submit(job(2), [text(4), text(5)])


def test_abandoned_work_leaves_at_once_unless_somebody_else_waits_for_it() -> None:
    waiting = queue()
    first, second = job(2), job(1)
    waiting.submit(first, [text(4), text(5)])
    waiting.submit(second, [text(4)])
    assert waiting.withdraw(first) == 1
    assert waiting.depth().items == 1
    batch = take(waiting)
    assert [item.waiters for item in batch.items] == [{second: [0]}]
    assert waiting.withdraw(second) == 0, "it is being embedded already"


def test_expired_work_is_set_apart_and_a_later_deadline_of_a_sharer_counts() -> None:
    clock = Clock()
    waiting = queue(clock=clock)
    waiting.submit(job(2, deadline=101), [text(4), text(5)])
    waiting.submit(job(1, deadline=200), [text(5)])
    clock.now = 102
    batch = take(waiting)
    assert [len(item.ids) for item in batch.expired] == [4]
    assert [len(item.ids) for item in batch.items] == [5]


def test_the_last_worker_takes_the_queue_with_it() -> None:
    waiting = queue()
    waiting.worker_up()
    waiting.submit(job(2), [text(4), text(5)])
    assert waiting.worker_down() == []
    assert len(waiting.worker_down()) == 2
    with pytest.raises(UnhealthyError):
        waiting.submit(job(1), [text(4)])
    waiting.worker_up()
    waiting.submit(job(1), [text(4)])


def test_a_closed_queue_sends_workers_home_and_takes_nothing() -> None:
    waiting = queue()
    waiting.submit(job(1), [text(4)])
    assert len(waiting.close()) == 1
    assert asyncio.run(waiting.take(padded)) is None
    with pytest.raises(UnhealthyError):
        waiting.reserve(1)


def test_the_age_of_the_oldest_text_is_told() -> None:
    clock = Clock()
    waiting = queue(clock=clock)
    assert waiting.depth().oldest_seconds == 0
    waiting.submit(job(1), [text(4)])
    clock.now += 3
    waiting.submit(job(1), [text(5)])
    assert waiting.depth().oldest_seconds == 3


def submit_bulk(waiting: BatchQueue, texts: int, *, length: int = 10) -> Job:
    bulk = job(texts, lane="bulk")
    waiting.submit(bulk, [text(length, first=10_000 + 100 * i) for i in range(texts)])
    return bulk


def test_interactive_work_goes_before_bulk_work_that_came_first() -> None:
    waiting = queue()
    submit_bulk(waiting, 3)
    hurried = job(1)
    waiting.submit(hurried, [text(10)])
    assert [list(item.waiters) for item in take(waiting).items] == [[hurried]], "and is not made to wait for it"
    assert {item.lane for item in take(waiting).items} == {"bulk"}


def test_bulk_work_is_never_starved() -> None:
    waiting = queue(batch=BatchLimits(items=1))
    submit_bulk(waiting, 3)
    lanes = []
    for number in range(3 * BULK_TURN):
        waiting.submit(job(1), [text(10, first=200 * number)])
        lanes += [item.lane for item in take(waiting).items]
    assert [number for number, lane in enumerate(lanes) if lane == "bulk"] == [
        BULK_TURN - 1, 2 * BULK_TURN - 1, 3 * BULK_TURN - 1,
    ]  # fmt: skip


def test_bulk_batches_are_small_only_while_interactive_requests_come_in() -> None:
    clock = Clock()
    limits = BatchLimits(tokens=500, bulk_tokens=130)
    waiting = queue(batch=limits, clock=clock)
    submit_bulk(waiting, 100)
    assert take(waiting).tokens == 500
    waiting.submit(job(1), [text(10)])
    assert take(waiting).items[0].lane == "interactive"
    assert take(waiting).tokens == 130
    clock.now += INTERACTIVE_SECONDS
    assert take(waiting).tokens == 370, "all that is left"


def test_a_bulk_text_that_somebody_is_in_a_hurry_for_is_hurried() -> None:
    waiting = queue(batch=BatchLimits(items=1))
    bulk = submit_bulk(waiting, 3)
    hurried = job(1)
    assert waiting.submit(hurried, [text(10, first=10_200)]) == 1
    (item,) = take(waiting).items
    assert item.waiters == {bulk: [2], hurried: [0]}
    assert waiting.depth().bulk_items == 2
    assert waiting.withdraw(bulk) == 2, "those that nobody else waits for"
    assert waiting.depth().items == 0


def test_a_bulk_text_that_is_hurried_keeps_its_age() -> None:
    clock = Clock()
    waiting = queue(clock=clock)
    submit_bulk(waiting, 1)
    clock.now += 2
    waiting.submit(job(1), [text(4)])
    waiting.submit(job(1), [text(10, first=10_000)])
    assert waiting.depth().bulk_items == 0
    assert waiting.depth().oldest_seconds == 2


def test_the_oldest_text_is_told_whatever_its_lane() -> None:
    clock = Clock()
    waiting = queue(clock=clock)
    submit_bulk(waiting, 1)
    clock.now += 2
    waiting.submit(job(1), [text(4)])
    assert waiting.depth().oldest_seconds == 2
    assert (waiting.depth().items, waiting.depth().bulk_items) == (2, 1)


def test_one_worker_a_batch_is_woken_and_the_one_that_was_busy_last_first() -> None:
    async def main() -> None:
        waiting = queue(batch=BatchLimits(items=1))
        taken: list[str] = []

        async def work(name: str) -> None:
            while await waiting.take(padded):
                taken.append(name)

        workers = [asyncio.ensure_future(work(name)) for name in ("first", "second")]
        await asyncio.sleep(0)
        waiting.submit(job(1), [text(4)])
        await asyncio.sleep(0.01)
        assert taken == ["second"]
        waiting.submit(job(2), [text(5), text(6)])
        await asyncio.sleep(0.01)
        assert len(taken) == 3
        waiting.close()
        await asyncio.gather(*workers)

    asyncio.run(main())


def test_work_is_not_lost_with_a_worker_that_is_cancelled_as_it_wakes() -> None:
    async def main() -> None:
        waiting = queue()
        first, second = (asyncio.ensure_future(waiting.take(padded)) for _ in range(2))
        await asyncio.sleep(0)
        waiting.submit(job(1), [text(4)])
        second.cancel()
        batch = await asyncio.wait_for(first, 10)
        assert batch is not None
        assert len(batch.items) == 1

    asyncio.run(main())
