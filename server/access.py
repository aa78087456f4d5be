"""Who may call which route: a guard in front of every handler. Knows keys only as `server.keys` tells."""

from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.openapi.spec import Components, SecurityScheme

from server.errors import ForbiddenError, UnauthorizedError
from server.keys import ApiKeys

PUBLIC = {"public": True}
"""`opt` of routes that nobody needs a key for: probes, which have none."""
OPERATIONAL = {"operational": True}
"""`opt` of routes that are open unless operators protect them: metrics and documentation."""
ADMIN = {"admin": True}
"""`opt` of routes that nobody may call where there are no keys."""

SECURITY_SCHEME = "ApiKey"
COMPONENTS = Components(security_schemes={SECURITY_SCHEME: SecurityScheme(type="http", scheme="bearer")})


class Guard:
    """Refuses requests without a key, where there are keys."""

    def __init__(self, keys: ApiKeys | None, *, protect_operations: bool) -> None:
        self._keys = keys
        self._protect_operations = protect_operations

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        """Let the request through.

        Raises:
            UnauthorizedError: the route needs a key, and the request brings none or a wrong one.
            ForbiddenError: the route is for operators, and there are no keys to tell them by.
        """
        if self._keys is None:
            if "admin" in handler.opt:
                raise ForbiddenError("this route needs a server with API keys: start it with --api-keys FILE")
            return
        is_open = "public" in handler.opt or ("operational" in handler.opt and not self._protect_operations)
        if not is_open and not self._keys.allows(connection.headers.get("authorization")):
            raise UnauthorizedError("a valid API key is needed: send `Authorization: Bearer KEY`")
