"""Waits grow, start over, and end with what is waited for."""

import asyncio
import time

import pytest

from server import backoff
from server.backoff import Backoff


def test_each_wait_is_twice_the_one_before_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "LONGEST_BACKOFF", 0.005)

    async def wait_often() -> list[float]:
        waits, waiting = [], Backoff(0.001)
        for _ in range(5):
            began = time.monotonic()
            expected = waiting.seconds
            await waiting.wait(asyncio.Event())
            assert time.monotonic() - began >= expected
            waits.append(expected)
        waiting.start_over()
        return [*waits, waiting.seconds]

    assert asyncio.run(wait_often()) == [0.001, 0.002, 0.004, 0.005, 0.005, 0.001]


def test_a_wait_ends_with_what_is_closing() -> None:
    async def wait_and_close() -> None:
        closing = asyncio.Event()
        waiting = asyncio.create_task(Backoff(1000).wait(closing))
        await asyncio.sleep(0)
        closing.set()
        await asyncio.wait_for(waiting, 60)

    asyncio.run(wait_and_close())
