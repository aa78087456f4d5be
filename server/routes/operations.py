"""What operators ask: what is served, does it work, should it get traffic, how does it do."""

from litestar import MediaType, Response, get

from server import schemas
from server.access import MAYBE_OPEN, OPEN, OPERATIONAL, PUBLIC
from server.errors import UnhealthyError
from server.exchange import GUARD_ERRORS, KEY_ERRORS, HttpRequest, errors, runtime_of, siblings_of


@get("/info", responses=errors(GUARD_ERRORS), summary="What is served")
async def info(request: HttpRequest) -> schemas.Info:
    """Answer the default model, its limits and how it is run."""
    return runtime_of(request).model().info


@get(
    "/health",
    opt=PUBLIC,
    security=OPEN,
    media_type=MediaType.TEXT,
    responses=errors({503: "An engine worker is down or hangs."}),
    summary="Does the engine work?",
)
async def health(request: HttpRequest) -> None:
    """Answer an empty 200 while every engine worker works."""
    if not await siblings_of(request).healthy():
        raise UnhealthyError("unhealthy")


@get(
    "/ready",
    opt=PUBLIC,
    security=OPEN,
    media_type=MediaType.TEXT,
    responses=errors({503: "Shutting down or unhealthy."}),
    summary="Should it get traffic?",
)
async def ready(request: HttpRequest) -> None:
    """Answer an empty 200 while new requests are welcome."""
    if not await siblings_of(request).ready():
        raise UnhealthyError("not ready")


@get(
    "/metrics",
    opt=OPERATIONAL,
    security=MAYBE_OPEN,
    media_type="text/plain; version=0.0.4; charset=utf-8",
    responses=errors(KEY_ERRORS),
    summary="Prometheus metrics",
)
async def metrics(request: HttpRequest) -> Response[bytes]:
    """Answer all metrics in Prometheus' text format."""
    return Response(await siblings_of(request).metrics())
