import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from server.errors import BundleConflictError, DisconnectedError, PeerError
from server.messages import Handle, Line, receive, send

Scenario = Callable[[Line, Line], Awaitable[None]]


async def echo(question: Any) -> Any:
    return question


def talk(scenario: Scenario, handle: Handle = echo, other: Handle = echo) -> None:
    """Run `scenario` with the two ends of a line: the first answers with `handle`, the second with `other`."""

    async def main() -> None:
        ends = [await asyncio.open_unix_connection(sock=end) for end in socket.socketpair()]
        one, two = (Line(*end, answer) for end, answer in zip(ends, (handle, other), strict=True))
        running = [asyncio.create_task(line.run()) for line in (one, two)]
        await scenario(one, two)
        one.close()
        await asyncio.gather(*running)

    asyncio.run(asyncio.wait_for(main(), 30))


def test_messages_arrive_whole_and_in_order() -> None:
    messages = [None, b"x" * 1_000_000, {"a": [1, 2.5]}, ""]

    async def main() -> None:
        (_, writer), (reader, other) = [await asyncio.open_unix_connection(sock=end) for end in socket.socketpair()]
        for message in messages:
            send(writer, message)
        assert [await receive(reader) for _ in messages] == messages
        writer.close()
        with pytest.raises(EOFError):
            await receive(reader)
        other.close()

    asyncio.run(main())


def test_both_ends_ask_and_answers_find_their_questions_in_any_order() -> None:
    async def slow_when_large(question: int) -> int:
        await asyncio.sleep(question / 1000)
        return -question

    async def scenario(one: Line, two: Line) -> None:
        numbers = [30, 1, 20, 3, 10]
        answers = await asyncio.gather(
            *(one.ask(number, patience=10) for number in numbers), *(two.ask(number, patience=10) for number in numbers)
        )
        assert answers == [-number for number in numbers] * 2

    talk(scenario, slow_when_large, slow_when_large)


def test_whoever_answers_may_ask_back() -> None:
    ends: list[Line] = []

    async def ask_back(question: str) -> Any:
        return await ends[0].ask(question.upper(), patience=10) if question.islower() else question + "!"

    async def scenario(one: Line, two: Line) -> None:
        ends.append(two)
        assert await one.ask("a", patience=10) == "A!"

    talk(scenario, ask_back, ask_back)


def test_errors_travel_and_unexpected_ones_tell_no_more_than_their_name(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(question: Exception) -> None:
        raise question

    async def scenario(one: Line, _: Line) -> None:
        with pytest.raises(BundleConflictError, match="two of them"):
            await one.ask(BundleConflictError("two of them"), patience=10)
        with pytest.raises(PeerError, match=r"^ZeroDivisionError;") as caught:
            await one.ask(ZeroDivisionError("secret"), patience=10)
        assert "secret" not in str(caught.value)
        assert "could not be answered" in caplog.text

    talk(scenario, echo, fail)


def test_a_question_that_takes_too_long_fails_and_others_go_on() -> None:
    async def hang_on_none(question: Any) -> Any:
        await asyncio.sleep(3600 if question is None else 0)
        return question

    async def scenario(one: Line, _: Line) -> None:
        with pytest.raises(DisconnectedError, match=r"0\.05 s"):
            await one.ask(None, patience=0.05)
        assert await one.ask("next", patience=10) == "next"

    talk(scenario, echo, hang_on_none)


def test_when_one_end_hangs_up_what_the_other_has_asked_fails_at_once() -> None:
    async def never(_: Any) -> None:
        await asyncio.sleep(3600)

    async def scenario(one: Line, two: Line) -> None:
        asked = asyncio.create_task(one.ask("anybody?", patience=3600))
        await asyncio.sleep(0.01)
        two.close()
        with pytest.raises(DisconnectedError, match="gone"):
            await asked
        with pytest.raises(DisconnectedError, match="gone"):
            await one.ask("and now?", patience=3600)

    talk(scenario, echo, never)


def test_an_answer_that_cannot_be_sent_is_an_error_of_whoever_has_asked(caplog: pytest.LogCaptureFixture) -> None:
    async def unsendable(_: Any) -> Any:
        return lambda: None

    async def scenario(one: Line, _: Line) -> None:
        with pytest.raises(PeerError):
            await one.ask("?", patience=10)

    talk(scenario, other=unsendable)
    assert "could not be answered" in caplog.text


def test_a_message_that_cannot_be_read_ends_the_connection_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        (_, writer), ends = [await asyncio.open_unix_connection(sock=end) for end in socket.socketpair()]
        line = Line(*ends, echo)
        running = asyncio.create_task(line.run())
        writer.write(b"\0\0\0\3abc")
        await running
        with pytest.raises(DisconnectedError):
            await line.ask("?", patience=10)
        writer.close()

    asyncio.run(asyncio.wait_for(main(), 30))
    assert "could not be read" in caplog.text
