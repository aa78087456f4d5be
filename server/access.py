"""Who may call which route: a guard in front of every handler. Knows keys only as `server.keys` tells."""

from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.openapi.spec import Components, SecurityRequirement, SecurityScheme

from server.connections import SURPLUS
from server.errors import ForbiddenError, TooManyConnectionsError, UnauthorizedError
from server.keys import ApiKeys

PUBLIC = {"public": True}
"""`opt` of routes that nobody needs a key for: probes, which have none."""
OPERATIONAL = {"operational": True}
"""`opt` of routes that are open unless operators protect them: metrics and documentation."""
ADMIN = {"admin": True}
"""`opt` of routes that nobody may call where there are no keys."""

API_KEY = "api_key"
"""In the state of a request: the hash of the key that it brought."""

SECURITY_SCHEME = "ApiKey"
OPEN: list[SecurityRequirement] = [{}]
"""`security` of routes that nobody needs a key for."""
MAYBE_OPEN: list[SecurityRequirement] = [{}, {SECURITY_SCHEME: []}]
"""`security` of routes that operators may protect."""
COMPONENTS = Components(security_schemes={SECURITY_SCHEME: SecurityScheme(type="http", scheme="bearer")})


class Guard:
    """Refuses requests without a key, where there are keys, and those of surplus connections."""

    def __init__(self, keys: ApiKeys | None, *, protect_operations: bool) -> None:
        self._keys = keys
        self._protect_operations = protect_operations

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        """Let the request through.

        Raises:
            TooManyConnectionsError: the connection is one too many, and the route no probe.
            UnauthorizedError: the route needs a key, and the request brings none or a wrong one.
            ForbiddenError: the route is for operators, and there are no keys to tell them by.
        """
        if SURPLUS in connection.scope["state"] and not handler.opt.keys() & {"public", "operational"}:
            raise TooManyConnectionsError("too many connections are open; use each for many requests, or try later")
        if self._keys is None:
            if "admin" in handler.opt:
                raise ForbiddenError("this route needs a server with API keys: start it with --api-keys FILE")
            return
        is_open = "public" in handler.opt or ("operational" in handler.opt and not self._protect_operations)
        if is_open:
            return
        if (key := self._keys.find(connection.headers.get("authorization"))) is None:
            raise UnauthorizedError("a valid API key is needed: send `Authorization: Bearer KEY`")
        connection.scope["state"][API_KEY] = key
