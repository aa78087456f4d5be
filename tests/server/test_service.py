"""Deadlines, disconnects and refusals, with an encoder that waits until it is told to go on."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from bundle.arrays import Vectors
from bundle.errors import EmptyInputError, TextTooLongError
from bundle.text import TextEncoder
from server.batching import BatchLimits
from server.cache import VectorCache
from server.engine import Engine
from server.engine_thread import ThreadEncoder
from server.errors import BackendError, ClientGoneError, InvalidRequestError, OverloadedError, RequestTimeoutError
from server.metrics import Metrics
from server.queue import BatchQueue, QueueLimits
from server.reading import Reader, Reading
from server.service import Embedded, EmbeddingService
from server.urgency import Urgency
from tests.conftest import WORDS
from tests.server.conftest import FakeEncoder, Mood

Scenario = Callable[["World"], Awaitable[None]]


async def stays() -> None:
    await asyncio.Event().wait()


async def leaves() -> None:
    """A client that goes away."""


class World:
    """A service whose one worker is busy with a batch for as long as `gate` is closed."""

    def __init__(
        self, tokenizer_file: Path, *, timeout: float = 30, queue_items: int = 100, cache_bytes: int = 0
    ) -> None:
        self.mood = Mood()
        self.metrics = Metrics()
        self.queue = BatchQueue(QueueLimits(items=queue_items), BatchLimits())
        self.text_encoder = TextEncoder.from_file(tokenizer_file, max_length=32)
        self.service = EmbeddingService(
            Reader(self.text_encoder, auto_truncate=True, threads=1),
            self.queue,
            VectorCache(cache_bytes),
            self.metrics.of("tiny"),
            dimension=2,
            max_texts=64,
            bulk_texts=8,
            timeout=timeout,
        )

    def run(self, scenario: Scenario) -> None:
        async def main() -> None:
            engine = Engine(
                lambda: ThreadEncoder(lambda: FakeEncoder(self.mood)),
                self.queue,
                self.metrics.of("tiny"),
                workers=1,
                probe=np.array([1], dtype=np.int32),
            )
            await engine.start()
            try:
                await scenario(self)
            finally:
                self.mood.gate.set()
                await engine.stop()
                self.service.close()

        asyncio.run(asyncio.wait_for(main(), 30))

    async def occupy(self) -> "asyncio.Task[Embedded[Vectors]]":
        """Give the worker a batch that does not end before the gate opens."""
        self.mood.gate.clear()
        self.mood.entered.clear()
        busy = asyncio.create_task(self.service.embed(["a"], Reading(), stays))
        await asyncio.to_thread(self.mood.entered.wait)
        return busy

    def embedded(self, text: str) -> bool:
        (ids,) = self.text_encoder.encode([text])
        return any(ids.tolist() in batch for batch in self.mood.batches)

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, {"model": "tiny"} | labels)


def test_a_disconnected_clients_texts_are_never_embedded(tokenizer_file: Path) -> None:
    async def scenario(world: World) -> None:
        busy = await world.occupy()
        with pytest.raises(ClientGoneError):
            await world.service.embed(["cat", "dog"], Reading(), leaves)
        world.mood.gate.set()
        await busy
        assert world.embedded("a")
        assert not world.embedded("cat")
        assert world.value("disco_dropped_texts_total", reason="abandoned") == 2

    World(tokenizer_file).run(scenario)


def test_a_cancelled_handler_withdraws_its_texts(tokenizer_file: Path) -> None:
    async def scenario(world: World) -> None:
        busy = await world.occupy()
        cancelled = asyncio.create_task(world.service.embed(["cat"], Reading(), stays))
        while world.queue.depth().tokens == 0:
            await asyncio.sleep(0.001)
        cancelled.cancel()
        with suppress(asyncio.CancelledError):
            await cancelled
        assert world.queue.depth().items == 0
        world.mood.gate.set()
        await busy

    World(tokenizer_file).run(scenario)


def test_a_text_somebody_still_waits_for_outlives_a_disconnect(tokenizer_file: Path) -> None:
    async def scenario(world: World) -> None:
        await world.occupy()
        patient = asyncio.create_task(world.service.embed(["cat"], Reading(), stays))
        with pytest.raises(ClientGoneError):
            await world.service.embed(["cat"], Reading(), leaves)
        world.mood.gate.set()
        assert (await patient).tokens == 3
        assert world.value("disco_deduplicated_texts_total") == 1

    World(tokenizer_file).run(scenario)


def test_a_request_is_given_up_at_its_deadline_though_the_worker_hangs(tokenizer_file: Path) -> None:
    async def scenario(world: World) -> None:
        world.mood.gate.clear()
        for text in ("a", "cat"):  # the first hangs in the worker, the second in the queue
            with pytest.raises(RequestTimeoutError):
                await world.service.embed([text], Reading(), stays)
        world.mood.gate.set()
        assert not world.embedded("cat")

    World(tokenizer_file, timeout=0.05).run(scenario)


def test_a_client_may_wait_less_long_than_the_server_but_not_longer(tokenizer_file: Path) -> None:
    async def scenario(world: World) -> None:
        busy = await world.occupy()
        with pytest.raises(RequestTimeoutError):
            await world.service.embed(["cat"], Reading(), stays, Urgency(timeout=0.05))
        world.mood.gate.set()
        await busy
        assert not world.embedded("cat")

    World(tokenizer_file).run(scenario)

    async def impatient(world: World) -> None:
        await world.occupy()
        with pytest.raises(RequestTimeoutError):
            await world.service.embed(["cat"], Reading(), stays, Urgency(timeout=1e9))

    World(tokenizer_file, timeout=0.05).run(impatient)


@pytest.mark.parametrize(
    ("texts", "urgency", "bulk"),
    [
        (8, Urgency(), 0),
        (9, Urgency(), 9),
        (9, Urgency(lane="interactive"), 0),
        (1, Urgency(lane="bulk"), 1),
    ],
)
def test_many_texts_are_bulk_unless_they_say_otherwise(
    tokenizer_file: Path, texts: int, urgency: Urgency, bulk: int
) -> None:
    async def scenario(world: World) -> None:
        busy = await world.occupy()
        inputs = [f"cat {word}" for word in WORDS[:texts]]
        waiting = asyncio.create_task(world.service.embed(inputs, Reading(), stays, urgency))
        while world.queue.depth().tokens == 0:
            await asyncio.sleep(0.001)
        assert world.queue.depth().bulk_items == bulk
        world.mood.gate.set()
        await asyncio.gather(busy, waiting)

    World(tokenizer_file).run(scenario)


def test_what_came_before_is_not_embedded_again(tokenizer_file: Path) -> None:
    async def scenario(world: World) -> None:
        first = await world.service.embed(["cat", "dog"], Reading(), stays)
        batches = len(world.mood.batches)
        again = await world.service.embed(["dog", "cat", "dog"], Reading(), stays)
        assert np.array_equal(again.vectors, first.vectors[[1, 0, 1]])
        assert len(world.mood.batches) == batches, "all from the cache"
        assert (again.queue_seconds, again.inference_seconds) == (0, 0)
        mixed = await world.service.embed(["bird", "dog"], Reading(), stays)
        assert np.array_equal(mixed.vectors[1], first.vectors[1])
        assert world.mood.batches[-1] == [world.text_encoder.encode(["bird"])[0].tolist()]
        assert world.value("disco_cache_texts_total", result="hit") == 4
        assert world.value("disco_cache_texts_total", result="miss") == 3

    World(tokenizer_file, cache_bytes=10_000).run(scenario)


def test_what_reads_differently_is_another_text(tokenizer_file: Path) -> None:
    async def scenario(world: World) -> None:
        text = " ".join(["cat"] * 40 + ["dog"] * 40)
        right = await world.service.embed([text], Reading(), stays)
        left = await world.service.embed([text], Reading(direction="left"), stays)
        assert not np.array_equal(left.vectors, right.vectors)

    World(tokenizer_file, cache_bytes=10_000).run(scenario)


def test_overload_is_refused_whole_and_before_tokenising(tokenizer_file: Path) -> None:
    async def scenario(world: World) -> None:
        busy = await world.occupy()
        waiting = asyncio.create_task(world.service.embed(["cat", "dog"], Reading(), stays))
        while world.queue.depth().tokens == 0:
            await asyncio.sleep(0.001)
        # A text that cannot be tokenised: the refusal comes first.
        with pytest.raises(OverloadedError):
            await world.service.embed(["bird", "\ud800"], Reading(), stays)
        assert world.queue.depth().items == 2
        assert world.value("disco_refused_requests_total", reason="items") == 1
        world.mood.gate.set()
        await asyncio.gather(busy, waiting)

    World(tokenizer_file, queue_items=3).run(scenario)


@pytest.mark.parametrize(
    ("texts", "reading", "error"),
    [([], Reading(), EmptyInputError), (["cat " * 99], Reading(truncate=False), TextTooLongError)],
)
def test_bad_texts_leave_nothing_reserved(
    tokenizer_file: Path, texts: list[str], reading: Reading, error: type[Exception]
) -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(error):
            await world.service.embed(texts, reading, stays)
        assert world.queue.depth().items == 0

    World(tokenizer_file).run(scenario)


class SlowTokenizer:
    """Makes a world's tokenizer wait for a gate; whoever is in it has `entered`."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gate, self.entered = threading.Event(), threading.Event()
        for name in ("encode", "tokens", "decode"):
            monkeypatch.setattr(world.text_encoder, name, partial(self._wait_for, getattr(world.text_encoder, name)))

    def _wait_for(self, work: Callable[..., object], *arguments: object, **options: object) -> object:
        self.entered.set()
        self.gate.wait()
        return work(*arguments, **options)


LONG = "cat " * 500
"""So long that a thread tokenises it."""


def test_the_deadline_counts_while_texts_are_tokenised(tokenizer_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(world: World) -> None:
        tokenizer = SlowTokenizer(world, monkeypatch)
        try:
            first = asyncio.create_task(world.service.embed([LONG], Reading(), stays, Urgency(timeout=0.05)))
            second = asyncio.create_task(world.service.embed([LONG], Reading(), leaves))
            with pytest.raises(RequestTimeoutError):
                await first
            with pytest.raises(ClientGoneError):
                await second
            assert world.queue.depth().items == 0
        finally:
            tokenizer.gate.set()
        await world.service.embed(["cat"], Reading(), stays)
        assert len(world.mood.batches) == 2, "the probe and the last text"

    World(tokenizer_file).run(scenario)


async def ask_for_tokens(world: World) -> object:
    return await world.service.tokens(["cat"], add_special_tokens=True, prompt_name=None, disconnected=stays)


async def ask_for_texts(world: World) -> object:
    return await world.service.decode([[6]], skip_special_tokens=True, disconnected=stays)


def busy(world: World) -> bool:
    return world.service.busy


@pytest.mark.parametrize("ask", [ask_for_tokens, ask_for_texts])
def test_a_model_is_busy_until_its_tokenizer_has_answered(
    tokenizer_file: Path, monkeypatch: pytest.MonkeyPatch, ask: Callable[[World], Awaitable[object]]
) -> None:
    async def scenario(world: World) -> None:
        expected = await ask(world)
        assert not busy(world)
        tokenizer = SlowTokenizer(world, monkeypatch)
        asking = asyncio.ensure_future(ask(world))
        await asyncio.to_thread(tokenizer.entered.wait)
        assert busy(world)
        tokenizer.gate.set()
        assert await asking == expected
        assert not busy(world)

    World(tokenizer_file).run(scenario)


@pytest.mark.parametrize("ask", [ask_for_tokens, ask_for_texts])
def test_what_only_needs_the_tokenizer_is_refused_too_when_too_much_waits(
    tokenizer_file: Path, ask: Callable[[World], Awaitable[object]]
) -> None:
    async def scenario(world: World) -> None:
        busy = await world.occupy()
        waiting = asyncio.create_task(world.service.embed(["dog"], Reading(), stays))
        while world.queue.depth().items == 0:
            await asyncio.sleep(0.001)
        with pytest.raises(OverloadedError):
            await ask(world)
        assert world.value("disco_refused_requests_total", reason="items") == 1
        world.mood.gate.set()
        await asyncio.gather(busy, waiting)
        await ask(world)

    World(tokenizer_file, queue_items=1).run(scenario)


def test_no_more_tokens_are_told_than_fit_an_answer(tokenizer_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.reading.MOST_TOKENS", 3)

    async def scenario(world: World) -> None:
        await ask_for_tokens(world)
        with pytest.raises(InvalidRequestError, match="6 tokens, at most 3"):
            await world.service.tokens(["cat", "dog"], add_special_tokens=True, prompt_name=None, disconnected=stays)

    World(tokenizer_file).run(scenario)


def test_texts_that_fall_with_another_of_their_request_are_counted_as_that(tokenizer_file: Path) -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(BackendError):
            await world.service.embed(["a", "cat", "dog"], Reading(), stays)
        assert world.value("disco_dropped_texts_total", reason="failed") == 2
        assert world.value("disco_dropped_texts_total", reason="abandoned") == 0

    world = World(tokenizer_file)
    world.queue._batch_limits = BatchLimits(items=1)
    world.mood.poison = world.text_encoder.encode(["a"])[0].tolist()[1]
    world.run(scenario)
