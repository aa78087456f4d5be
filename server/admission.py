"""In front of the application: while what waits takes too long, requests are refused before anything of them is read.

Most requests are refused under overload, and what that costs is taken from those that are not. Whatever gets through
here is checked again by the queue.
"""

from collections.abc import Mapping

from litestar.datastructures import State
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from server.problems import Answer, Told


class Admission:
    """Refuses requests for `routes`, in the shape that each of them answers."""

    def __init__(self, app: ASGIApp, state: State, routes: Mapping[str, Answer]) -> None:
        """`state` is the application's, which has a runtime while it serves."""
        self._app = app
        self._state = state
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse one request."""
        if told := self._refusal(scope):
            await _send(told, send)
        else:
            await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> Told | None:
        path = scope["path"]
        if scope["type"] != ScopeType.HTTP or scope["method"] != "POST" or path not in self._routes:
            return None
        error = self._state.runtime.refusal()
        if error is None:
            return None
        scope["path_template"] = path  # by which the request is counted
        self._state.runtime.model().metrics.refused[error.reason].inc()
        return self._routes[path].tell(error, self._state.metrics, place=path)


async def _send(told: Told, send: Send) -> None:
    length = (b"content-length", str(len(told.body)).encode())
    named = [(name.encode(), value.encode()) for name, value in told.headers.items()]
    headers = [(b"content-type", b"application/json"), length, *named]
    await send({"type": "http.response.start", "status": told.status, "headers": headers})
    await send({"type": "http.response.body", "body": told.body, "more_body": False})
