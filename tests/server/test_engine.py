import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from bundle.arrays import Ids
from bundle.errors import BundleError
from bundle.runtime import TokenEncoder
from server.batching import BatchLimits
from server.engine import Engine
from server.engine_thread import ThreadEncoder
from server.errors import BackendError, EngineDiedError, RequestTimeoutError, UnhealthyError
from server.jobs import Job
from server.logs import REQUEST_ID
from server.metrics import Metrics
from server.queue import BatchQueue, QueueLimits
from tests.server.conftest import LETHAL, POISON, FakeEncoder, Mood

PROBE = np.array([1], dtype=np.int32)


class MortalEncoder(ThreadEncoder):
    def __init__(self, open_encoder: Callable[[], TokenEncoder], gone: asyncio.Event) -> None:
        super().__init__(open_encoder)
        self._gone = gone

    async def ended(self) -> EngineDiedError:
        await self._gone.wait()
        self._gone.clear()
        return EngineDiedError("it was time")


@dataclass
class World:
    """An engine of fake encoders, and everything the tests look at."""

    mood: Mood = field(default_factory=Mood)
    metrics: Metrics = field(default_factory=Metrics)
    opened: int = 0
    refuse_to_open: bool = False
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when encoders are to end by themselves."""
    request_ids: list[str] = field(default_factory=list)
    """What a log line would have said as an encoder was opened."""

    def __post_init__(self) -> None:
        # One text a batch, so that one text's fate is not another's.
        self.queue = BatchQueue(QueueLimits(), BatchLimits(items=1))

    def open_encoder(self) -> TokenEncoder:
        if self.refuse_to_open:
            raise BundleError("no encoder today")
        self.opened += 1
        return FakeEncoder(self.mood)

    def encoder(self) -> ThreadEncoder:
        self.request_ids.append(REQUEST_ID.get())
        return MortalEncoder(self.open_encoder, self.gone)

    def run(self, scenario: Callable[[Engine], Awaitable[None]], *, workers: int = 1) -> None:
        async def main() -> None:
            engine = Engine(
                self.encoder,
                self.queue,
                self.metrics.of("tiny"),
                workers=workers,
                probe=PROBE,
                first_backoff=0.001,
            )
            await engine.start()
            try:
                await scenario(engine)
            finally:
                self.mood.gate.set()
                await engine.stop()

        asyncio.run(asyncio.wait_for(main(), 30))

    async def embed(self, texts: Sequence[list[int]], *, timeout: float = 30) -> Job:
        done = asyncio.get_running_loop().create_future()
        job = Job(len(texts), deadline=time.monotonic() + timeout, on_done=lambda: done.set_result(None))
        self.queue.submit(job, [ids(text) for text in texts])
        await done
        return job

    def value(self, name: str, labels: dict[str, str] | None = None) -> float | None:
        return self.metrics.registry.get_sample_value(name, {"model": "tiny"} | (labels or {}))


def ids(text: list[int]) -> Ids:
    return np.array(text, dtype=np.int32)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


@pytest.fixture
def world() -> World:
    return World()


def test_every_request_gets_its_own_vectors_whatever_it_is_batched_with() -> None:
    world = World()
    world.queue = BatchQueue(QueueLimits(), BatchLimits())
    requests = [[[n + 1] * (1 + n % 7), [n + 2] * 3] for n in range(100)]

    async def scenario(_: Engine) -> None:
        jobs = await asyncio.gather(*(world.embed(texts) for texts in requests))
        for texts, job in zip(requests, jobs, strict=True):
            assert np.stack(job.rows).tolist() == [[sum(text), len(text)] for text in texts]

    world.run(scenario, workers=3)
    assert len(world.mood.batches) < 200, "nothing was batched or shared"


def test_a_failing_batch_fails_only_its_own_texts(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        good, bad, other = await asyncio.gather(world.embed([[5, 6]]), world.embed([[7], [POISON]]), world.embed([[8]]))
        assert good.error is None
        assert other.error is None
        assert isinstance(bad.error, BackendError)
        assert engine.healthy

    world.run(scenario)
    assert world.opened == 1, "one bad batch is no reason for a new encoder"


def test_a_broken_encoder_is_replaced_and_every_request_gets_an_answer(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        jobs = await asyncio.gather(*(world.embed([[n]]) for n in (5, LETHAL, 6, 7)))
        assert isinstance(jobs[1].error, BackendError)
        assert all(isinstance(job.error, UnhealthyError) for job in jobs[2:])
        await until(lambda: engine.healthy)
        assert np.stack((await world.embed([[9]])).rows).tolist() == [[9, 1]]

    world.run(scenario)
    assert world.opened == 2
    assert world.value("disco_worker_restarts_total") == 1


def test_an_encoder_that_ends_while_it_has_nothing_to_do_is_replaced_unasked(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        world.refuse_to_open = True
        world.gone.set()
        await until(lambda: engine.alive == 0)
        assert not engine.healthy
        world.refuse_to_open = False
        await until(lambda: engine.healthy)
        assert np.stack((await world.embed([[9]])).rows).tolist() == [[9, 1]]

    world.run(scenario)
    assert world.opened == 2
    assert world.value("disco_worker_restarts_total") == 1


def test_an_encoder_that_ends_with_a_batch_is_left_to_tell_of_it(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        world.mood.gate.clear()
        waiting = asyncio.ensure_future(world.embed([[5]]))
        await asyncio.to_thread(world.mood.entered.wait)
        while world.queue.depth().items:
            await asyncio.sleep(0.001)
        world.gone.set()
        await until(lambda: not world.gone.is_set())
        world.mood.gate.set()
        assert np.stack((await waiting).rows).tolist() == [[5, 1]]

    world.run(scenario)


def test_an_encoder_whose_first_vectors_are_no_numbers_is_not_served(world: World) -> None:
    async def scenario(_: Engine) -> None:
        pytest.fail("the engine must not start")

    world.mood.nan = True
    with pytest.raises(BackendError, match="not finite"):
        world.run(scenario)


def test_an_encoder_that_gives_no_numbers_any_more_is_replaced(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        world.mood.nan = True
        assert isinstance((await world.embed([[5]])).error, BackendError)
        await until(lambda: engine.alive == 0)
        world.mood.nan = False
        await until(lambda: engine.healthy)
        assert (await world.embed([[6]])).error is None

    world.run(scenario)


def test_what_engines_log_is_no_part_of_the_request_that_started_them(world: World) -> None:
    async def scenario(_: Engine) -> None: ...

    token = REQUEST_ID.set("monday")
    try:
        world.run(scenario)
    finally:
        REQUEST_ID.reset(token)
    assert world.request_ids == ["-"]


def test_while_no_encoder_opens_the_engine_is_unhealthy_and_refuses_at_once(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        world.refuse_to_open = True
        assert (await world.embed([[LETHAL]])).error is not None
        await until(lambda: engine.alive == 0)
        assert not engine.healthy
        with pytest.raises(UnhealthyError):
            world.queue.reserve(1)
        world.refuse_to_open = False
        await until(lambda: engine.healthy)

    world.run(scenario)


def test_with_another_worker_alive_what_is_queued_is_still_embedded(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        world.refuse_to_open = True
        assert (await world.embed([[LETHAL]])).error is not None
        await until(lambda: engine.alive == 1)
        assert not engine.healthy
        jobs = await asyncio.gather(*(world.embed([[n]]) for n in range(20)))
        assert all(job.error is None for job in jobs)

    world.run(scenario, workers=2)


def test_withdrawn_work_never_reaches_the_encoder(world: World) -> None:
    async def scenario(_: Engine) -> None:
        world.mood.gate.clear()
        running = asyncio.ensure_future(world.embed([[5]]))
        await asyncio.sleep(0)  # it submits
        await until(lambda: world.queue.depth().items == 0)  # and is taken
        abandoned = Job(1, deadline=time.monotonic() + 30, on_done=lambda: None)
        world.queue.submit(abandoned, [ids([77])])
        world.queue.withdraw(abandoned)
        world.mood.gate.set()
        await running
        await world.embed([[6]])

    world.run(scenario)
    assert [[77]] not in world.mood.batches
    assert [[6]] in world.mood.batches


def test_expired_work_is_answered_and_counted_but_never_embedded(world: World) -> None:
    async def scenario(_: Engine) -> None:
        job = await world.embed([[77]], timeout=-1)
        assert isinstance(job.error, RequestTimeoutError)

    world.run(scenario)
    assert [[77]] not in world.mood.batches
    assert world.value("disco_dropped_texts_total", {"reason": "expired"}) == 1


def test_an_encoder_that_cannot_be_opened_at_the_start_is_an_error(world: World) -> None:
    async def scenario(_: Engine) -> None:
        pytest.fail("the engine must not start")

    world.refuse_to_open = True
    with pytest.raises(BundleError, match="no encoder today"):
        world.run(scenario, workers=2)


def test_stopping_fails_what_still_waits(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        world.mood.gate.clear()
        running = asyncio.ensure_future(world.embed([[5]]))
        waiting = asyncio.ensure_future(world.embed([[6]]))
        await asyncio.sleep(0)
        stopping = asyncio.ensure_future(engine.stop())
        job = await waiting
        assert isinstance(job.error, UnhealthyError)
        world.mood.gate.set()
        await asyncio.gather(stopping, running, return_exceptions=True)

    world.run(scenario)


def test_batches_are_measured_with_and_without_padding() -> None:
    world = World()
    world.queue = BatchQueue(QueueLimits(), BatchLimits())

    async def scenario(_: Engine) -> None:
        await world.embed([[5, 5, 5], [6]])

    world.run(scenario)
    assert world.value("disco_tokens_total") == 4
    assert world.value("disco_padded_tokens_total") == 6
    assert world.value("disco_batch_items_sum") == 2
