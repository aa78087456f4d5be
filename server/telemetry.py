"""Around every request: an id, the start of the clock, the counters by route and status, and a span if wanted."""

import random
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from server.logs import REQUEST_ID, TRACE_ID
from server.metrics import Metrics
from server.service import Embedded

if TYPE_CHECKING:  # an extra, which may not be installed
    from server.tracing import Tracing

# Anything else could forge log lines or headers.
_ACCEPTABLE_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
UNKNOWN_ROUTE = "unknown"
# Nobody gains by guessing an id, so none is worth a system call.
_request_ids = random.Random()
# No answer was sent, because there was nobody left to read it.
CLIENT_GONE = 499


@dataclass(slots=True)
class Work:
    """What a request asks of a model; in its state under `WORK`."""

    model: str
    texts: int
    embedded: Embedded[Any] | None = None


WORK = "work"


class Telemetry:
    """Wraps the whole application, so that unknown paths are counted too."""

    def __init__(self, app: ASGIApp, metrics: Metrics, tracing: "Tracing | None") -> None:
        self._app = app
        self._metrics = metrics
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        span = self._tracing.begin(scope) if self._tracing else None
        request_id = request_id_of(scope["headers"])
        REQUEST_ID.set(request_id.decode())
        TRACE_ID.set(span.trace_id if span else None)
        scope["state"]["started"] = time.perf_counter()
        status = CLIENT_GONE

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id)]
            await send(message)

        self._metrics.in_flight.inc()
        try:
            await self._app(scope, receive, send_with_id)
        finally:
            self._metrics.in_flight.dec()
            route = scope.get("path_template")
            self._metrics.requests.labels(route or UNKNOWN_ROUTE, str(status)).inc()
            if span:
                work = scope["state"].get(WORK)
                span.end(route=route, status=status, request_id=request_id.decode(), work=work)


def request_id_of(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The client's own id of a request, where it has an acceptable one, else a new one."""
    for name, value in headers:
        if name == b"x-request-id" and _ACCEPTABLE_ID.fullmatch(value):
            return value
    return b"%016x" % _request_ids.getrandbits(64)
