"""A lean HTTP/1.1 client over kept-alive connections: ready-made request bytes in, status and body out.

A general client would spend more of a small machine on headers, cookies and redirects than the server under test
spends on a short text. Knows neither routes nor latencies.
"""

import asyncio
import ssl
from dataclasses import dataclass
from typing import NamedTuple, Self
from urllib.parse import urlsplit

import httptools


class TransferError(Exception):
    """No HTTP answer came back; the message names the kind of failure, the cause tells more."""


class Reply(NamedTuple):
    """A complete HTTP answer."""

    status: int
    body: bytes


@dataclass(frozen=True)
class Endpoint:
    """Where requests go, split into what a socket and what a request's head needs."""

    host: str
    port: int
    tls: bool
    authority: str
    path: str

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Take an http or https URL apart."""
        parts = urlsplit(url)
        tls = parts.scheme == "https"
        port = parts.port or (443 if tls else 80)
        return cls(parts.hostname or "", port, tls, parts.netloc, parts.path or "/")

    def request(self, body: bytes, *, api_key: str | None = None, accept: str = "application/json") -> bytes:
        """The bytes of a POST of the JSON `body`, ready to be written to a connection any number of times."""
        head = [
            f"POST {self.path} HTTP/1.1",
            f"Host: {self.authority}",
            "Content-Type: application/json",
            f"Accept: {accept}",
            "User-Agent: disco-loadtest",
            f"Content-Length: {len(body)}",
        ]
        if api_key is not None:
            head.append(f"Authorization: Bearer {api_key}")
        return "\r\n".join([*head, "", ""]).encode() + body


class Client:
    """A pool of at most `connections` connections to one endpoint; who comes when all are busy waits his turn."""

    def __init__(self, endpoint: Endpoint, *, connections: int) -> None:
        self._endpoint = endpoint
        self._tls = ssl.create_default_context() if endpoint.tls else None
        self._slots = asyncio.Semaphore(connections)
        self._idle: list[_Connection] = []

    async def send(self, request: bytes) -> Reply:
        """Send one request and wait for its answer. Cancelling closes the connection that it was using.

        Raises:
            TransferError: cannot connect, the connection broke off, or the answer is not HTTP.
        """
        async with self._slots:
            connection = self._take_idle() or await self._connect()
            try:
                return await connection.exchange(request)
            finally:
                if connection.is_reusable:
                    self._idle.append(connection)
                else:
                    connection.close()

    async def close(self) -> None:
        """Close the idle connections and wait until that is done."""
        while self._idle:
            connection = self._idle.pop()
            connection.close()
            await connection.closed.wait()

    def _take_idle(self) -> "_Connection | None":
        while self._idle:
            # The most recently used one is the least likely to have been closed by the server meanwhile.
            if (connection := self._idle.pop()).is_reusable:
                return connection
        return None

    async def _connect(self) -> "_Connection":
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(
                _Connection, self._endpoint.host, self._endpoint.port, ssl=self._tls
            )
        except OSError as error:
            raise TransferError("cannot connect") from error
        return connection


class _Connection(asyncio.Protocol):
    """One connection that carries one request at a time; also receives httptools' callbacks."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._waiting: asyncio.Future[Reply] | None = None
        self._keep_alive = True

    @property
    def is_reusable(self) -> bool:
        """Whether another request may be sent: nothing is outstanding and neither side has hung up."""
        open_ = self._transport is not None and not self._transport.is_closing()
        return open_ and self._keep_alive and self._waiting is None

    async def exchange(self, request: bytes) -> Reply:
        assert self._transport is not None
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._waiting

    def close(self) -> None:
        # Abort rather than close: bytes that nobody waits for are not worth flushing.
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail("not HTTP", error)
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail("connection lost", exc)
        self.closed.set()

    def on_body(self, chunk: bytes) -> None:
        self._body.append(chunk)

    def on_message_complete(self) -> None:
        reply = Reply(self._parser.get_status_code(), b"".join(self._body))
        self._body.clear()
        if reply.status < 200:  # an interim answer such as 100 Continue; the real one follows
            return
        self._keep_alive = self._parser.should_keep_alive()
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            self._keep_alive = False  # an answer nobody asked for: the next one could be anyone's
        elif not waiting.done():
            waiting.set_result(reply)

    def _fail(self, kind: str, cause: Exception | None) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            error = TransferError(kind)
            error.__cause__ = cause
            waiting.set_exception(error)
