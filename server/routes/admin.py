"""What only operators may do while the server runs."""

from litestar import post

from server import schemas
from server.access import require_keys
from server.exchange import HttpRequest, errors, siblings_of

_ERRORS = {
    401: "A valid API key is needed.",
    403: "The server has no API keys, so nobody can show that they may do this.",
    409: "The new bundle cannot take the place of the old one, which goes on.",
}


@post(
    "/admin/reload", status_code=200, guards=[require_keys], responses=errors(_ERRORS), summary="Load changed bundles"
)
async def reload(request: HttpRequest) -> schemas.Reloaded:
    """Replace every model whose bundle has changed on disk, while requests go on (SIGHUP does the same)."""
    return await siblings_of(request).reload()
