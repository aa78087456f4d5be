"""Several front ends behind one address: accepts connections, hands each to the front end that has fewest, asks all of
them what one is asked, and replaces those that die. Knows no HTTP.

The kernel would share connections out as well (SO_REUSEPORT), but by chance: of four, all go to the same of two front
ends every eighth time, and stay there. Nor is a connection lost here with a front end that had not accepted it yet.
"""

import asyncio
import logging
import signal
import socket
import time
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any

import uvloop

from bundle.errors import DiscoError
from server.errors import AddressError, DisconnectedError
from server.front_end_process import FrontEndProcess, Start
from server.messages import Handle
from server.settings import ServerSettings
from server.siblings import Question

logger = logging.getLogger(__name__)

BACKLOG = 2048
FIRST_BACKOFF = 0.1
LONGEST_BACKOFF = 10.0
# So long nothing is accepted after something could not be: the process has no file descriptor left.
BREATH = 0.1
LOOK = 5.0
"""Seconds between looks whether a front end still answers."""
LONGEST_SILENCE = 10.0
"""Seconds that it has for its answer."""
MOST_MISSES = 3
"""One that has owed so many answers in succession has hung; a single one may be owed because all were suspended."""


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
        self._linger = settings.linger_seconds
        self._places = [_Place(number, settings, self.ask) for number in range(settings.front_ends)]
        self._turns = count()
        self._stop = asyncio.Event()
        self._reloads: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """See `run` of this module."""
        try:
            for opened in await asyncio.gather(*(place.open() for place in self._places), return_exceptions=True):
                if isinstance(opened, BaseException):
                    raise opened
            with _listen(self._settings.host, self._settings.port) as listener:
                await self._serve(listener)
        finally:
            await asyncio.gather(*(place.close() for place in self._places))

    @property
    def held(self) -> list[int]:
        """How many connections each front end has."""
        return [place.held for place in self._places]

    async def ask(self, question: Question) -> list[Any]:
        """What every front end answers; in the place of an answer, the DiscoError for which there is none."""
        return await asyncio.gather(*(place.ask(question) for place in self._places))

    async def _serve(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._end)
        loop.add_signal_handler(signal.SIGINT, partial(self._end, hurry=True))
        loop.add_signal_handler(signal.SIGHUP, self._begin_reload)
        host, port = listener.getsockname()[:2]
        logger.info("%d front ends listen on %s, port %d", len(self._places), host, port)
        accepting = asyncio.create_task(self._accept(listener))
        await self._stop.wait()
        await self.ask("drain")  # load balancers are to stop sending first
        await asyncio.sleep(self._linger)
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
                self._hand_over(connection)

    def _hand_over(self, connection: socket.socket) -> None:
        """Give it to whoever has fewest, and of several to the one whose last is longest ago."""
        for place in sorted(self._places, key=lambda place: (place.held, place.turn)):
            if place.give(connection):
                place.turn = next(self._turns)
                return
        logger.error("no front end takes connections; one was closed")

    def _end(self, *, hurry: bool = False) -> None:
        if self._stop.is_set():  # whoever asks twice does not want to wait
            for place in self._places:
                place.kill()
        if hurry:
            self._linger = 0.0  # somebody at the keyboard is waiting
        self._stop.set()

    def _begin_reload(self) -> None:
        task = asyncio.create_task(self._reload())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def _reload(self) -> None:
        for place, answer in zip(self._places, await self.ask("reload"), strict=True):
            if isinstance(answer, DiscoError):
                logger.error("%s: not reloaded: %s", place.name, answer)
            else:
                logger.info("%s: reloaded: %s", place.name, ", ".join(answer.replaced) or "nothing has changed")


class _Place:
    """One front end, replaced when it dies."""

    def __init__(self, number: int, settings: ServerSettings, handle: Handle) -> None:
        """`handle` answers what it asks of all front ends."""
        self.name = f"front end {number}"
        self.turn = -1
        self._settings = settings
        self._handle = handle
        self._front_end: FrontEndProcess | None = None
        self._restarts = 0
        self._backoff = FIRST_BACKOFF
        self._closing = asyncio.Event()

    async def open(self) -> None:
        """Start the front end.

        Raises:
            DiscoError: it cannot serve.
        """
        self._opened = asyncio.get_running_loop().create_future()
        self._keeping = asyncio.create_task(self._keep())
        await self._opened

    async def close(self) -> None:
        """Let it finish what it has, then end it."""
        self._closing.set()
        if self._front_end is None:
            self._keeping.cancel()
        await asyncio.wait((self._keeping,))

    @property
    def held(self) -> int:
        """The connections that it has."""
        return self._front_end.held if self._front_end else 0

    def give(self, connection: socket.socket) -> bool:
        """Hand a connection over, if it is there and takes one."""
        return self._front_end is not None and self._front_end.give(connection)

    async def ask(self, question: Question) -> Any:
        """Its answer, or the DiscoError for which there is none."""
        try:
            if self._front_end is None:
                return DisconnectedError(f"{self.name} is being restarted")
            return await self._front_end.ask(question)
        except DiscoError as error:
            return error

    def kill(self) -> None:
        """End it at once."""
        if self._front_end is not None:
            self._front_end.kill()

    async def _keep(self) -> None:
        while not self._closing.is_set():
            began = time.monotonic()
            try:
                await self._serve_with_one()
            except DiscoError as error:
                if not self._opened.done():
                    self._opened.set_exception(error)
                    return
                logger.error("%s cannot be restarted: %s", self.name, error)
            finally:
                self._front_end = None
            if time.monotonic() - began > LONGEST_BACKOFF:
                self._backoff = FIRST_BACKOFF
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), self._backoff)
            self._backoff = min(2 * self._backoff, LONGEST_BACKOFF)

    async def _serve_with_one(self) -> None:
        """Keep one front end until it dies, or is to end.

        Raises:
            DiscoError: it cannot be started.
        """
        async with FrontEndProcess(Start(self._settings, self._restarts), self._handle) as front_end:
            self._front_end = front_end
            if not self._opened.done():
                self._opened.set_result(None)
            ended, closing = asyncio.create_task(front_end.ended()), asyncio.create_task(self._closing.wait())
            watching = asyncio.create_task(self._watch(front_end))
            await asyncio.wait((ended, closing), return_when=asyncio.FIRST_COMPLETED)
            closing.cancel()
            watching.cancel()
            if not ended.done():
                ended.cancel()
                return
            logger.error("%s has ended (%s) and will be restarted", self.name, ended.result())
            self._restarts += 1

    async def _watch(self, front_end: FrontEndProcess) -> None:
        """Kill it if it hangs."""
        missed = 0
        while missed < MOST_MISSES:
            await asyncio.sleep(LOOK)
            try:
                await front_end.ask("health", patience=LONGEST_SILENCE)
                missed = 0
            except DisconnectedError:
                missed += 1
        logger.error("%s does not answer and is killed", self.name)
        front_end.kill()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise AddressError(f"cannot listen on {host}, port {port}: {error.strerror}; choose --host or --port") from None
