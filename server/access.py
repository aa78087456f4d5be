"""Who may call which route: guards in front of handlers. Knows keys only as `server.keys` tells."""

from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.openapi.spec import Components, SecurityRequirement, SecurityScheme

from server.errors import ForbiddenError, UnauthorizedError
from server.keys import ApiKeys

PUBLIC = {"public": True}
"""`opt` of routes that nobody needs a key for: probes, which have none."""
OPERATIONAL = {"operational": True}
"""`opt` of routes that are open unless operators protect them: metrics and documentation."""
API_KEY = "api_key"
"""In the state of a request: the hash of the key that it brought."""

SECURITY_SCHEME = "ApiKey"
OPEN: list[SecurityRequirement] = [{}]
"""`security` of routes that nobody needs a key for."""
MAYBE_OPEN: list[SecurityRequirement] = [{}, {SECURITY_SCHEME: []}]
"""`security` of routes that operators may protect."""
COMPONENTS = Components(security_schemes={SECURITY_SCHEME: SecurityScheme(type="http", scheme="bearer")})


class KeyGuard:
    """Refuses requests without a key.

    For each guard Litestar copies the route on every request, so where there are no keys there had better be none.
    """

    def __init__(self, keys: ApiKeys, *, protect_operations: bool) -> None:
        self._keys = keys
        self._protect_operations = protect_operations

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        """Let the request through.

        Raises:
            UnauthorizedError: the route needs a key, and the request brings none or a wrong one.
        """
        is_open = "public" in handler.opt or ("operational" in handler.opt and not self._protect_operations)
        if is_open:
            return
        if (key := self._keys.find(connection.headers.get("authorization"))) is None:
            raise UnauthorizedError("a valid API key is needed: send `Authorization: Bearer KEY`")
        connection.scope["state"][API_KEY] = key


async def require_keys(connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
    """A guard for operators' routes, after `KeyGuard`: closed where there are no keys to tell operators by.

    Raises:
        ForbiddenError: there are none.
    """
    if API_KEY not in connection.scope["state"]:
        raise ForbiddenError("this route needs a server with API keys: start it with --api-keys FILE")
