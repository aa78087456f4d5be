"""In front of the application: while what waits takes too long, requests are refused before anything of them is read.

Most requests are refused under overload, and what that costs is taken from those that are not: the answer is written
where the bytes come in, without a task, an application or a body. Whatever gets through here is checked again by the
queue.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

from litestar.datastructures import State
from prometheus_client import Counter

from server.connections import SURPLUS, BoundedProtocol
from server.errors import OverloadedError
from server.glance import plain_post
from server.problems import Answer
from server.telemetry import request_id_of

Headers = Sequence[tuple[bytes, bytes]]
Refuse = Callable[[bytes, bytes, Headers], bytes | None]
"""Takes method, URL and headers of a request; gives the whole answer, or None where the request is let in."""


_CLOSING = b"\r\nconnection: close\r\n"
REPEATED_SECONDS = 0.01
"""So long a refusal is told in the words of the one before."""


@dataclass(frozen=True)
class _Refusal:
    """What is told to everybody who is refused on one route at one moment."""

    until: float
    before_id: bytes
    after_id: bytes
    counters: tuple[Counter, ...]


class Admission:
    """Refuses requests for `routes`, in the shape that each of them answers."""

    def __init__(self, state: State, routes: Mapping[str, Answer]) -> None:
        """`state` is the application's, which has a runtime while it serves."""
        self._state = state
        self._routes = {path.encode(): (path, answer) for path, answer in routes.items()}
        self._refusals: dict[bytes, _Refusal] = {}
        self._coming = 0  # requests that were let in, but have not reached the queue

    def refusing(self) -> bool:
        """Whether requests for some routes are refused at the moment: a fraction of the work of refusing one."""
        refuses: bool = self._state.runtime.refuses(self._coming)
        return refuses

    def refuse(self, method: bytes, url: bytes, headers: Headers) -> bytes | None:
        """See `Refuse`; what is refused is counted."""
        path = url.partition(b"?")[0]
        if method != b"POST" or path not in self._routes:
            return None
        if not self.refusing():
            if self._coming == 0:  # all that comes at once is let in or refused before any of it is begun
                asyncio.get_running_loop().call_soon(self._begin)
            self._coming += 1
            return None
        refusal = self._refusals.get(path)
        if refusal is None or time.monotonic() > refusal.until:
            refusal = self._refusals[path] = self._compose(path)
        for counter in refusal.counters:
            counter.inc()
        return refusal.before_id + request_id_of(headers) + refusal.after_id

    def _compose(self, path: bytes) -> _Refusal:
        route, answer = self._routes[path]
        runtime, metrics = self._state.runtime, self._state.metrics
        error: OverloadedError = runtime.refusal(self._coming)
        told = answer.describe(error)
        lines = [
            f"HTTP/1.1 {told.status} {HTTPStatus(told.status).phrase}",
            f"date: {formatdate(usegmt=True)}",
            "content-type: application/json",
            f"content-length: {len(told.body)}",
            *(f"{name}: {value}" for name, value in told.headers.items()),
            "x-request-id: ",
        ]
        return _Refusal(
            until=time.monotonic() + REPEATED_SECONDS,
            before_id="\r\n".join(lines).encode(),
            after_id=b"\r\n\r\n" + told.body,
            counters=(
                runtime.model().metrics.refused[error.reason],
                metrics.requests.labels(route, str(told.status)),
                metrics.errors.labels(told.error_type),
            ),
        )

    def _begin(self) -> None:
        self._coming = 0


class AdmittingProtocol(BoundedProtocol):
    """uvicorn's protocol, which asks for every request whether it is refused."""

    def __init__(self, *uvicorn: Any, refuse: Refuse, refusing: Callable[[], bool], **more: Any) -> None:
        """While `refusing` is false `refuse` need not be asked about requests that have not been parsed."""
        super().__init__(*uvicorn, **more)
        self._refuse = refuse
        self._refusing = refusing
        self._refusal: bytes | None = None
        self._between_requests = True

    def data_received(self, data: bytes) -> None:
        """Refuse what is one whole plain request right here; all else goes to the parser first."""
        if self._refusing() and self._between_requests and self._may_refuse():
            url = plain_post(data)
            refusal = self._refuse(b"POST", url, ()) if url is not None else None
            if refusal is not None:
                self.transport.write(refusal)
                self._unset_keepalive_if_required()
                self._stop_waiting()
                self._await_next()
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        """Note that a request has begun."""
        self._between_requests = False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Let the request in, or skip what is left of it."""
        if not self.expect_100_continue and self._may_refuse():
            self._refusal = self._refuse(self.parser.get_method(), self.url, self.headers)
        if self._refusal is None:
            super().on_headers_complete()

    def _may_refuse(self) -> bool:
        # Answers come in the order of requests, so those that wait for an answer before theirs are let in.
        first = not self.cycle or self.cycle.response_complete  # type: ignore[truthy-bool]  # None before the first
        # Nor are answers piled up for a client that reads none: reading pauses for those that are let in.
        return first and not self.flow.write_paused and SURPLUS not in self.app_state

    def on_body(self, body: bytes) -> None:
        """Skip the body of a request that is refused."""
        if self._refusal is None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Tell the refusal, once the client has sent everything and listens."""
        self._between_requests = True
        if self._refusal is None:
            super().on_message_complete()
            return
        self._completed = True
        # As the application does, which keeps no connection of HTTP/1.0.
        closing = not self.parser.should_keep_alive() or self.parser.get_http_version() == "1.0"
        self.transport.write(self._refusal.replace(b"\r\n", _CLOSING, 1) if closing else self._refusal)
        self._refusal = None
        if closing:
            self.transport.close()
