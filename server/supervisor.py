"""Several front ends behind one address: accepts connections, hands each to the front end that has fewest, asks all of
them what one is asked, and ends them in good order. Knows no HTTP.

The kernel would share connections out as well (SO_REUSEPORT), but by chance: of four, all go to the same of two front
ends every eighth time, and stay there.
"""

import asyncio
import logging
import signal
import socket
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any

import uvloop

from bundle.errors import DiscoError
from server.errors import AddressError
from server.keeper import Keeper
from server.settings import ServerSettings
from server.siblings import Question, Versions

logger = logging.getLogger(__name__)

BACKLOG = 2048
# So long nothing is accepted after something could not be: the process has no file descriptor left.
BREATH = 0.1
# So long until a connection is offered again that no front end could take: none is there, or all are behind.
FULL = 0.01


def run(settings: ServerSettings) -> None:
    """Serve until SIGTERM or SIGINT, finish what was accepted, and return.

    Raises:
        DiscoError: the front ends cannot serve with these settings, or the address cannot be listened on.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(Supervisor(settings).run())


class Supervisor:
    """All front ends of a server."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._keepers = [Keeper(number, settings, self.ask, self._served) for number in range(settings.front_ends)]
        self._turns = count()
        self._stop, self._hurry = asyncio.Event(), asyncio.Event()
        self._reloads: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """See `run` of this module."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._end)
        loop.add_signal_handler(signal.SIGINT, partial(self._end, hurry=True))
        loop.add_signal_handler(signal.SIGHUP, lambda: None)  # there is nothing to reload yet
        try:
            if not await self._open():
                return
            with _listen(self._settings.host, self._settings.port) as listener:
                await self._serve(listener)
        finally:
            await asyncio.gather(*(keeper.close() for keeper in self._keepers))

    @property
    def held(self) -> list[int]:
        """How many connections each front end has."""
        return [keeper.held for keeper in self._keepers]

    @property
    def silent(self) -> list[bool]:
        """Which front ends did not answer when they were looked at last."""
        return [keeper.silent for keeper in self._keepers]

    async def ask(self, question: Question) -> list[Any]:
        """What every front end answers; in the place of an answer the DiscoError for which there is none."""
        return await asyncio.gather(*(keeper.ask(question) for keeper in self._keepers))

    def _served(self) -> Versions:
        """What the front ends that are there serve; where none is, whatever lies on disk is right."""
        return next((keeper.versions for keeper in self._keepers if keeper.versions), {})

    async def _open(self) -> bool:
        """Start all front ends; False where the server is to end before they work."""
        opening = asyncio.gather(*(keeper.open() for keeper in self._keepers), return_exceptions=True)
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait((opening, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not opening.done():
            opening.cancel()
            return False
        for opened in await opening:
            if isinstance(opened, BaseException):
                raise opened
        return True

    async def _serve(self, listener: socket.socket) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._begin_reload)
        host, port = listener.getsockname()[:2]
        logger.info("%d front ends listen on %s, port %d", len(self._keepers), host, port)
        accepting = asyncio.create_task(self._accept(listener))
        await self._stop.wait()
        await self.ask("drain")  # load balancers are to stop sending first
        with suppress(TimeoutError):
            await asyncio.wait_for(self._hurry.wait(), self._settings.linger_seconds)
        accepting.cancel()
        await asyncio.wait((accepting,))

    async def _accept(self, listener: socket.socket) -> None:
        listener.setblocking(False)
        while True:
            try:
                connection, _ = await asyncio.get_running_loop().sock_accept(listener)
            except OSError as error:
                logger.error("no connection can be accepted: %s", error.strerror)
                await asyncio.sleep(BREATH)
                continue
            with connection:
                while not self._hand_over(connection):  # meanwhile others wait where the kernel keeps them
                    await asyncio.sleep(FULL)

    def _hand_over(self, connection: socket.socket) -> bool:
        """Give it to whoever has fewest, of several to the one whose last is longest ago, to those that hang last.

        False where nobody takes it now.
        """
        for keeper in sorted(self._keepers, key=lambda keeper: (keeper.silent, keeper.held, keeper.turn)):
            if keeper.give(connection):
                keeper.turn = next(self._turns)
                return True
        return False

    def _end(self, *, hurry: bool = False) -> None:
        if self._stop.is_set():  # whoever asks twice wants no end of work
            hurry = True
            for keeper in self._keepers:
                keeper.kill()
        if hurry:  # somebody at the keyboard is waiting
            self._hurry.set()
        self._stop.set()

    def _begin_reload(self) -> None:
        task = asyncio.create_task(self._reload())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def _reload(self) -> None:
        for keeper, answer in zip(self._keepers, await self.ask("reload"), strict=True):
            if isinstance(answer, DiscoError):
                logger.error("%s: not reloaded: %s", keeper.name, answer)
            else:
                logger.info("%s: reloaded: %s", keeper.name, ", ".join(answer.replaced) or "nothing has changed")


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise AddressError(f"cannot listen on {host}, port {port}: {error.strerror}; choose --host or --port") from None
