"""How long clients may take to send, how many may be connected, and how much they may send at once.

Knows connections, not what is sent over them.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from litestar.types import ASGIApp, HTTPReceiveMessage, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from server.errors import OverloadedError, SlowRequestError, TooManyConnectionsError

SURPLUS = "surplus"
"""In the state of requests that came over a connection beyond the limit."""
# So many connections beyond the limit are kept long enough to be told so; others are closed at once.
SURPLUS_CONNECTIONS = 64
SURPLUS_SECONDS = 1.0


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with a limit on connections, and on the time without a complete head of a request.

    uvicorn itself ends only connections that are silent after an answer.
    """

    def __init__(self, *uvicorn: Any, read_timeout: float, max_connections: int, **more: Any) -> None:
        """`read_timeout` is in seconds."""
        super().__init__(*uvicorn, **more)
        self._read_timeout = read_timeout
        self._max_connections = max_connections
        self._head_timer: asyncio.TimerHandle | None = None
        self._completed = False
        """Whether the end of a request was in what came last."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Begin to wait for a request, or refuse the connection."""
        super().connection_made(transport)
        surplus = len(self.connections) - self._max_connections
        if surplus > SURPLUS_CONNECTIONS:
            transport.abort()
            return
        if surplus > 0:
            self.app_state = {**self.app_state, SURPLUS: True}
            self._read_timeout = min(self._read_timeout, SURPLUS_SECONDS)
        self._await_head()

    def on_message_complete(self) -> None:
        """Note that a request has come to its end."""
        self._completed = True
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Wait for the rest of a request that nobody answers, or for the next one."""
        self._completed = False
        super().data_received(data)
        if self.cycle and not self.cycle.response_complete:  # type: ignore[truthy-bool]  # None before the first
            self._stop_waiting()  # the body's time is up to `BoundedBodies`
        elif self._completed:
            self._stop_waiting()
            self._await_next()
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        if self._head_timer is None and not self.transport.is_closing():
            self._head_timer = self.loop.call_later(self._read_timeout, self.transport.close)

    def _await_next(self) -> None:
        """Give the client time for another request, where uvicorn has not done so as it answered."""
        if self.timeout_keep_alive_task is None and not self.transport.is_closing():
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class BoundedBodies:
    """Wraps an application: a body that does not come in time, over a surplus connection, or when the bodies of all
    clients take too much memory already, is an error where it is read.

    So what has no body, like the question whether the server is ready, is answered over any connection.
    """

    def __init__(self, app: ASGIApp, *, read_timeout: float, most_bytes: int, refused: Callable[[], None]) -> None:
        """`read_timeout` is in seconds, from the end of a request's head; `most_bytes` counts until its answer.

        `refused` is called whenever there are too many bytes.
        """
        self._app = app
        self._read_timeout = read_timeout
        self._most_bytes = most_bytes
        self._refused = refused
        self._bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; `receive` raises SlowRequestError, TooManyConnectionsError or OverloadedError."""
        deadline = asyncio.get_running_loop().time() + self._read_timeout
        complete = False
        own_bytes = 0

        async def receive_bounded() -> HTTPReceiveMessage:
            nonlocal complete, own_bytes
            if complete:  # what comes next is the end of the connection, which has no hurry
                return await receive()  # type: ignore[return-value]  # there are no WebSockets here
            if SURPLUS in scope["state"]:
                raise TooManyConnectionsError("too many connections are open; use each for many requests, or try later")
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise SlowRequestError(
                    f"the body did not come within {self._read_timeout:g} seconds; send less at once"
                ) from None
            complete = not message.get("more_body", False)
            more = len(message["body"]) if message["type"] == "http.request" else 0
            own_bytes += more
            self._bytes += more
            self._check(own_bytes)
            return message  # type: ignore[return-value]  # there are no WebSockets here

        try:
            await self._app(scope, receive_bounded, send)
        finally:
            self._bytes -= own_bytes

    def _check(self, own_bytes: int) -> None:
        if self._bytes > max(self._most_bytes, own_bytes):  # a body is never refused for its own sake here
            self._refused()
            raise OverloadedError(
                f"the bodies of all requests are more than {self._most_bytes} bytes at the moment; try again later",
                reason="bytes",
                retry_after=1,
            )
