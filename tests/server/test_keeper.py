"""A keeper and front ends that do what they are told: the real ones are in test_supervisor."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Self

import pytest
from prometheus_client import CollectorRegistry, Counter

from server import keeper
from server.backoff import Backoff
from server.errors import BundleConflictError, DisconnectedError, PeerError
from server.front_end_process import Start
from server.keeper import Keeper
from server.schemas import Reloaded
from server.settings import ServerSettings
from server.siblings import Question, Versions

Scenario = Callable[[Keeper], Awaitable[None]]


class FakeFrontEnd:
    """Starts, answers and dies as the test says."""

    starts: list[Start]
    failures: list[BaseException]
    """What the next starts raise."""
    answer: Callable[[Question], Any]
    disk: Versions
    current: "FakeFrontEnd"
    held = 0

    def __init__(self, start: Start, _: object) -> None:
        self.starts.append(start)

    async def __aenter__(self) -> Self:
        if self.failures:
            raise self.failures.pop(0)
        self.versions = dict(self.disk)
        self._end = asyncio.Event()
        type(self).current = self
        return self

    async def __aexit__(self, *_: object) -> None:
        self._end.set()

    async def ask(self, question: Question, *, patience: float | None = None) -> Any:
        del patience
        answer = type(self).answer(question)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def ended(self) -> str:
        await self._end.wait()
        return "SIGKILL"

    def kill(self) -> None:
        self._end.set()


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeFrontEnd]:
    fresh = {"starts": [], "failures": [], "disk": {"a": "1"}, "answer": staticmethod(lambda _: counted(0))}
    fake = type("Fake", (FakeFrontEnd,), fresh)
    monkeypatch.setattr(keeper, "FrontEndProcess", fake)
    monkeypatch.setattr(keeper, "LOOK", 0.001)
    monkeypatch.setattr(keeper, "Backoff", partial(Backoff, 0.001))
    return fake


def counted(texts: float) -> list[Any]:
    registry = CollectorRegistry()
    Counter("texts", "Texts.", registry=registry).inc(texts)
    return list(registry.collect())


def total(families: list[Any], name: str = "texts_total") -> float | None:
    return next((sample.value for family in families for sample in family.samples if sample.name == name), None)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def keep(scenario: Scenario, served: Versions | None = None) -> None:
    async def handle(_: object) -> None:
        raise AssertionError

    async def main() -> None:
        one = Keeper(0, ServerSettings(front_ends=2, workers=2), handle, lambda: served or {})
        try:
            await one.open()
            await scenario(one)
        finally:
            await one.close()

    asyncio.run(asyncio.wait_for(main(), 30))


@pytest.mark.parametrize("failure", [PeerError("no"), OSError(24, "too many open files"), RuntimeError("oh")])
def test_whatever_keeps_the_first_from_starting_is_told(fake: type[FakeFrontEnd], failure: Exception) -> None:
    async def nothing(_: Keeper) -> None:
        raise AssertionError

    fake.failures.append(failure)
    with pytest.raises(type(failure), match=str(failure.args[-1])):
        keep(nothing)


def test_whatever_keeps_a_later_one_from_starting_is_tried_again(
    fake: type[FakeFrontEnd], caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(_: Keeper) -> None:
        fake.failures += [RuntimeError("oh"), PeerError("no")]
        fake.current.kill()
        await until(lambda: len(fake.starts) == 4)

    keep(scenario)
    assert caplog.text.count("front end 0 cannot be restarted") == 2


def test_one_that_falls_silent_is_said_to_be_and_then_killed(fake: type[FakeFrontEnd]) -> None:
    async def scenario(one: Keeper) -> None:
        fake.answer = staticmethod(lambda _: DisconnectedError("no answer"))
        await until(lambda: one.silent)
        await until(lambda: len(fake.starts) == 2)

    keep(scenario)


def test_one_that_cannot_tell_its_metrics_is_there_nevertheless(fake: type[FakeFrontEnd]) -> None:
    async def scenario(one: Keeper) -> None:
        looks = 0

        def answer(_: Question) -> Exception:
            nonlocal looks
            looks += 1
            return PeerError("no metrics")

        fake.answer = staticmethod(answer)
        await until(lambda: looks > 10)
        assert not one.silent
        fake.answer = staticmethod(lambda _: DisconnectedError("no answer"))
        await until(lambda: one.silent)  # it is still being looked at

    keep(scenario)


def test_what_one_has_counted_outlives_it_and_the_place_is_not_ready(fake: type[FakeFrontEnd]) -> None:
    async def scenario(one: Keeper) -> None:
        fake.answer = staticmethod(lambda _: counted(5))
        assert total(await one.ask("metrics")) == 5
        first = fake.current
        fake.failures += [PeerError("no")] * 3
        fake.current.kill()
        await until(lambda: not fake.failures or fake.current is not first)
        known = await one.ask("metrics")
        assert total(known) == 5
        assert total(known, "disco_ready") == 0
        fake.answer = staticmethod(lambda _: counted(2))
        await until(lambda: fake.current is not first)
        told = await one.ask("metrics")
        assert total(told) == 7
        assert total(told, "disco_front_end_restarts_total") == 1
        assert total(told, "disco_ready") is None, "that is its own to tell"

    keep(scenario)


def test_it_has_to_serve_what_the_others_serve(fake: type[FakeFrontEnd]) -> None:
    others = {"a": "1"}

    async def scenario(one: Keeper) -> None:
        assert one.versions == {"a": "1"}
        fake.answer = staticmethod(lambda question: Reloaded(["a"], {"a": "2"}) if question == "reload" else counted(0))
        await one.ask("reload")
        assert one.versions == {"a": "2"}
        fake.failures += [PeerError("no")] * 100
        fake.current.kill()
        await until(lambda: one.versions == {})

    keep(scenario, served=others)
    assert all(start.versions == others for start in fake.starts)


def test_one_that_opened_another_bundle_than_the_others_is_refused() -> None:
    async def nothing(_: Keeper) -> None:
        raise AssertionError

    with pytest.raises(BundleConflictError, match="replaced while"):
        keep(nothing, served={"a": "0"})
