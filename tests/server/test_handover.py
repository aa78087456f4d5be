import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from server.handover import Giver, Taker

Scenario = Callable[[Giver, Taker, list[socket.socket], asyncio.Event], Awaitable[None]]


def join(scenario: Scenario) -> None:
    """Run `scenario` with two joined ends, what was taken, and an event that tells that no more will come."""

    async def main() -> None:
        ours, theirs = socket.socketpair()
        taken: list[socket.socket] = []
        finished = asyncio.Event()
        giver, taker = Giver(ours), Taker(theirs, taken.append, finished.set)
        try:
            await scenario(giver, taker, taken, finished)
        finally:
            giver.close()
            taker.close()
            for connection in taken:
                connection.close()

    asyncio.run(asyncio.wait_for(main(), 30))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def give_one(giver: Giver) -> socket.socket:
    """Hand over one end of a connection; returns the other."""
    client, server = socket.socketpair()
    with server:
        assert giver.give(server)
    return client


def test_a_connection_lives_on_at_the_other_end() -> None:
    async def scenario(giver: Giver, taker: Taker, taken: list[socket.socket], _: asyncio.Event) -> None:
        with give_one(giver) as client:
            await until(lambda: bool(taken))
            client.sendall(b"question")
            assert taken[0].recv(100) == b"question"
            taken[0].sendall(b"answer")
            assert client.recv(100) == b"answer"

    join(scenario)


def test_the_giver_knows_how_many_connections_the_taker_has() -> None:
    async def scenario(giver: Giver, taker: Taker, taken: list[socket.socket], _: asyncio.Event) -> None:
        clients = [give_one(giver) for _ in range(5)]
        assert giver.held == 5, "those on their way are counted"
        await until(lambda: len(taken) == 5)
        taker.closed()
        taker.closed()
        await until(lambda: giver.held == 3)
        for client in clients:
            client.close()

    join(scenario)


def test_no_closed_connection_is_forgotten_while_the_giver_is_behind() -> None:
    async def scenario(giver: Giver, taker: Taker, _taken: list[socket.socket], _finished: asyncio.Event) -> None:
        giver.held = many = 5_000  # more than there is room for between them
        for _ in range(many):
            taker.closed()
        assert giver.held == many, "nothing was read meanwhile"
        await until(lambda: giver.held == 0)
        taker.closed()
        await until(lambda: giver.held == -1)

    join(scenario)


def test_the_end_comes_after_everything_that_was_given() -> None:
    async def scenario(giver: Giver, _: Taker, taken: list[socket.socket], finished: asyncio.Event) -> None:
        clients = [give_one(giver) for _ in range(20)]
        giver.finish()
        assert not finished.is_set()
        await finished.wait()
        assert len(taken) == 20
        for client in clients:
            client.close()

    join(scenario)


@pytest.mark.parametrize("close_first", [True, False])
def test_a_giver_that_is_gone_is_an_end_too(close_first: bool) -> None:
    async def scenario(_: Giver, taker: Taker, taken: list[socket.socket], finished: asyncio.Event) -> None:
        ours, theirs = socket.socketpair()
        giver = Giver(ours)
        other_finished = asyncio.Event()
        if close_first:
            giver.close()
        other = Taker(theirs, taken.append, other_finished.set)
        if not close_first:
            giver.close()
        await other_finished.wait()
        other.closed()  # nobody listens, and nothing happens
        other.close()
        assert not finished.is_set()

    join(scenario)


def test_a_taker_that_is_gone_or_takes_nothing_is_told_apart_by_false() -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        giver = Giver(ours)
        given = 0
        with socket.socket() as connection:
            while giver.give(connection):  # nobody reads: the buffer fills
                given += 1
                assert given < 100_000
            assert giver.held == given > 0
            theirs.close()
            assert not giver.give(connection)
            giver.finish()
        giver.close()

    asyncio.run(asyncio.wait_for(main(), 30))


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_what_a_giver_gave_before_it_died_behind_with_its_work_is_taken(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        taken: list[socket.socket] = []
        finished = asyncio.Event()
        giver, taker = Giver(ours), Taker(theirs, taken.append, finished.set)
        clients = [give_one(giver) for _ in range(40)]
        for _ in range(3):
            taker.closed()
        giver.close()  # with three answers unread
        await asyncio.sleep(0.05)
        taker.finish()
        assert finished.is_set()
        assert len(taken) == 40
        taker.close()
        for connection in [*taken, *clients]:
            connection.close()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())
