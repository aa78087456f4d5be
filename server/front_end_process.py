"""One front end of several, as its supervisor sees it: a process that answers HTTP on connections it is handed.

Owns the child's life and what the two say to each other; `server.front_end_child` is the other end.
"""

import asyncio
import socket
from contextlib import ExitStack
from typing import Any, NamedTuple, Self

from bundle.errors import DiscoError
from server.children import end_of, start_child
from server.errors import DisconnectedError
from server.handover import Giver
from server.messages import Handle, Line, receive, send
from server.settings import ServerSettings
from server.siblings import Question, Versions

LONGEST_START = 180.0
STOP_PATIENCE = 5.0
# Seconds that a front end has for an answer: a new bundle has to be opened and warmed up.
PATIENCE: dict[Question, float] = {"health": 2.0, "metrics": 5.0, "reload": 180.0, "drain": 2.0}


class Start(NamedTuple):
    """The first message to a child, which answers with the Versions that it serves, or the DiscoError that it met."""

    settings: ServerSettings
    versions: Versions
    """Those it has to serve, as its siblings do; empty where it is the first."""


class FrontEndProcess:
    """A front end that has been started and has not been stopped; an asynchronous context manager."""

    versions: Versions
    """What it served when it was started."""

    def __init__(self, start: Start, handle: Handle) -> None:
        """`handle` answers what the front end asks."""
        self._start = start
        self._handle = handle

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    @property
    def held(self) -> int:
        """The connections that it has."""
        return self._giver.held

    async def __aenter__(self) -> Self:
        """Start the child and wait until it can serve.

        Raises:
            DiscoError: what opening the application raises in the child.
            DisconnectedError: there could be no child, it died on the way, or it took too long.
        """
        try:
            talk, joint = await self._start_child()
        except OSError as error:
            raise DisconnectedError(f"a front end cannot be started: {error.strerror}") from error
        self._giver = Giver(joint)
        reader, self._writer = await asyncio.open_unix_connection(sock=talk)
        self._line = Line(reader, self._writer, self._handle)
        try:
            await self._await_start(reader)
        except BaseException:
            await self._close()
            raise
        self._talking = asyncio.create_task(self._line.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let it finish what it has, for as long as the settings allow, then end it."""
        self._giver.finish()
        try:
            await asyncio.wait_for(self._process.wait(), self._start.settings.drain_seconds + STOP_PATIENCE)
        except TimeoutError:
            pass
        finally:
            await self._close()
            self._talking.cancel()

    def give(self, connection: socket.socket) -> bool:
        """Hand a connection over; False where the front end takes none now."""
        return self._giver.give(connection)

    async def ask(self, question: Question, *, patience: float | None = None) -> Any:
        """Its answer, see `server.siblings.FrontEnd`, within so many seconds, or as many as such a question may take.

        Raises:
            DisconnectedError: it is gone, or hangs.
            DiscoError: whatever answering raised.
        """
        return await self._line.ask(question, patience=patience or PATIENCE[question])

    async def ended(self) -> str:
        """Wait for the process to end; says how it did."""
        return await end_of(self._process)

    def kill(self) -> None:
        """End it at once, with all that it has."""
        if self._process.returncode is None:
            self._process.kill()

    async def _start_child(self) -> tuple[socket.socket, socket.socket]:
        """Returns our ends of the two sockets."""
        with ExitStack() as ours, ExitStack() as theirs:
            pairs = []
            for _ in range(2):
                own, other = socket.socketpair()
                ours.enter_context(own)
                theirs.enter_context(other)
                pairs.append((own, other))
            (talk, their_talk), (joint, their_joint) = pairs
            self._process = await start_child("server.front_end_child", their_talk, their_joint)
            ours.pop_all()
            return talk, joint

    async def _await_start(self, reader: asyncio.StreamReader) -> None:
        send(self._writer, self._start)
        try:
            async with asyncio.timeout(LONGEST_START):
                answer = await receive(reader)
        except TimeoutError:
            raise DisconnectedError(f"front end {self.pid} did not start within {LONGEST_START:g} s") from None
        except (EOFError, OSError):
            raise DisconnectedError(f"front end {self.pid} has ended while it started ({await self.ended()})") from None
        if isinstance(answer, DiscoError):
            raise answer
        self.versions = answer

    async def _close(self) -> None:
        self.kill()
        self._giver.close()
        self._writer.close()
        await self._process.wait()
