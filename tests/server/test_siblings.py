import asyncio
from typing import Any

import pytest

from bundle.errors import NotABundleError
from server.errors import DisconnectedError
from server.schemas import Reloaded
from server.siblings import Health, Question, Siblings

GONE = DisconnectedError("it is being restarted")


def siblings(*answers: object) -> Siblings:
    async def ask(_: Question) -> list[Any]:
        return list(answers)

    return Siblings(ask)


@pytest.mark.parametrize(
    ("answers", "healthy", "ready"),
    [
        ([Health(True, True)] * 2, True, True),
        ([Health(True, True), Health(True, False)], True, False),
        ([Health(True, True), Health(False, False)], False, False),
        ([Health(True, True), GONE], False, False),
    ],
)
def test_all_of_them_have_to_be_well(answers: list[object], healthy: bool, ready: bool) -> None:
    async def scenario() -> None:
        assert await siblings(*answers).healthy() == healthy
        assert await siblings(*answers).ready() == ready

    asyncio.run(scenario())


def test_what_any_of_them_replaced_is_replaced() -> None:
    versions = {"a": "1", "b": "2"}
    both = siblings(Reloaded(["a"], versions), Reloaded(["a", "b"], versions))
    assert asyncio.run(both.reload()) == Reloaded(["a", "b"], versions)


def test_one_that_could_not_reload_is_an_error() -> None:
    with pytest.raises(NotABundleError, match="damaged"):
        asyncio.run(siblings(Reloaded(["a"], {}), NotABundleError("it is damaged")).reload())


def test_metrics_are_those_of_whoever_answers() -> None:
    assert asyncio.run(siblings([], GONE).metrics()) == b""
