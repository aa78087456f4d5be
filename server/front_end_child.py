"""One front end of several: serves the connections that its supervisor hands over, until no more will come.

Knows the supervisor by two sockets: questions and answers travel over one, connections over the other.
"""

import asyncio
import faulthandler
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import uvicorn
import uvloop
from litestar import Litestar

from bundle.errors import DiscoError
from server.admission import AdmittingProtocol
from server.app import create_app
from server.errors import BundleConflictError
from server.front_end_process import PATIENCE, Start
from server.handover import Taker
from server.logs import configure_logging
from server.memory import settle
from server.messages import Line, receive, send
from server.process import configure
from server.settings import ServerSettings
from server.siblings import Question

# How much longer than its siblings have to answer does one wait for the supervisor, who asks them.
WAIT = 2.0


def main() -> None:
    """Serve; the arguments are the file descriptors of the two sockets."""
    # A signal for the whole group is for the supervisor, which lets accepted work finish.
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    faulthandler.enable()  # a crash shows where, on stderr
    talk, joint = (socket.socket(fileno=int(argument)) for argument in sys.argv[1:3])
    for end in (talk, joint):
        end.set_inheritable(False)  # its engines are not to have them
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(talk, joint))


async def serve(talk: socket.socket, joint: socket.socket) -> None:
    """Serve what comes over `joint` as the first message says, and tell whether that works."""
    reader, writer = await asyncio.open_unix_connection(sock=talk)
    start: Start = await receive(reader)
    settings = start.settings
    configure_logging(settings.log_level, as_json=settings.json_logs)

    async def answer(question: Question) -> object:
        told: object = await app.state.front_end.answer(question)
        return told

    line = Line(reader, writer, answer)

    async def ask_all(question: Question) -> list[Any]:
        answers: list[Any] = await line.ask(question, patience=PATIENCE[question] + WAIT)
        return answers

    try:
        app = create_app(settings, ask_all)
        server = _HandedServer(app, settings, joint)
        async with app.lifespan():
            served = app.state.front_end.versions
            if start.versions and served != start.versions:
                raise BundleConflictError("a bundle has changed on disk, and the other front ends serve it as it was")
            settle()
            send(writer, served)
            talking = asyncio.create_task(line.run())
            talking.add_done_callback(lambda _: server.finish())  # the supervisor is gone
            await server.serve()
            talking.cancel()
    except* DiscoError as failures:  # Litestar's lifespan wraps what it raises into a group
        send(writer, failures.exceptions[0])
        await writer.drain()


class _HandedProtocol(AdmittingProtocol):
    """One that tells when its connection is closed."""

    def __init__(self, *uvicorn: Any, closed: Callable[[], None], **more: Any) -> None:
        super().__init__(*uvicorn, **more)
        self._closed = closed

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._closed()


class _HandedServer(uvicorn.Server):
    """Serves connections that somebody else has accepted, and stops when there will be no more."""

    def __init__(self, app: Litestar, settings: ServerSettings, joint: socket.socket) -> None:
        super().__init__(configure(app, settings, partial(_HandedProtocol, closed=self._tell_closed)))
        self._joint = joint
        self._adopting: set[asyncio.Task[None]] = set()

    def finish(self) -> None:
        """Serve what was handed over, and no more."""
        self._taker.finish()
        self._finish()

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]  # uvicorn's is a generator
        return nullcontext()

    async def startup(self, sockets: object = None) -> None:  # noqa: ARG002  uvicorn's signature
        await super().startup(sockets=[])
        self._taker = Taker(self._joint, self._take, self._finish)

    def _take(self, connection: socket.socket) -> None:
        task = asyncio.create_task(self._adopt(connection))
        self._adopting.add(task)
        task.add_done_callback(self._adopting.discard)

    async def _adopt(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as on those that a loop accepts
            await loop.connect_accepted_socket(self._protocol, connection, ssl=self.config.ssl)
        except (OSError, ssl.SSLError):  # hung up already, or does not speak TLS
            connection.close()
            self._tell_closed()

    def _protocol(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(  # type: ignore[call-arg]  # as uvicorn does
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    def _tell_closed(self) -> None:
        self._taker.closed()

    def _finish(self) -> None:
        self.should_exit = True


if __name__ == "__main__":
    main()
