"""Puts the application together: routes, errors, telemetry, OpenAPI and the lifetime of what they use."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from litestar import Litestar
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig

from server import docs
from server.access import COMPONENTS, SECURITY_SCHEME, KeyGuard
from server.admission import Admission
from server.bodies import StrictJson
from server.connections import BoundedBodies
from server.errors import MissingPackageError
from server.keys import ApiKeys
from server.metrics import Metrics
from server.problems import PROBLEMS, Answer, answer_native
from server.rates import RateLimits
from server.routes import HANDLERS
from server.runtime import running
from server.settings import ServerSettings
from server.siblings import Ask, FrontEnd, Siblings
from server.telemetry import UNKNOWN_ROUTE, Telemetry

if TYPE_CHECKING:
    from server.tracing import Tracing


def create_app(settings: ServerSettings, ask: Ask | None = None) -> Litestar:
    """Make the application; its lifespan opens the bundle and starts the workers.

    `ask` reaches all front ends where this is one of several. `app.state.runtime`, `.front_end` and `.siblings` are
    there while it runs, `.metrics` and `.admission` always.

    Raises:
        ApiKeysError: the file of API keys cannot be read, or holds none.
        MissingPackageError: traces are wanted, but their packages are not installed.
    """
    metrics = Metrics()
    keys = ApiKeys(settings.api_keys) if settings.api_keys is not None else None
    rates = RateLimits(settings.rate_limit, is_valid=keys.is_valid) if keys and settings.rate_limit else None
    tracing = _open_tracing(settings)

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        try:
            async with running(settings, metrics) as runtime:
                app.state.runtime = runtime
                app.state.front_end = front_end = FrontEnd(runtime, metrics)
                app.state.siblings = Siblings(ask or front_end.ask_alone)
                yield
        finally:
            if tracing:
                await asyncio.to_thread(tracing.close)

    app = Litestar(
        guards=[KeyGuard(keys, protect_operations=settings.protect_operations)] if keys else [],
        route_handlers=[*HANDLERS, *docs.HANDLERS],
        dto=StrictJson,
        return_dto=None,
        exception_handlers={Exception: answer_native},
        request_max_body_size=settings.payload_limit,
        lifespan=[lifespan],
        state=State({"metrics": metrics, "rates": rates}),
        openapi_config=OpenAPIConfig(
            title="disco",
            version="1",
            description="Embeddings of texts, compatible with Text Embeddings Inference and OpenAI.",
            render_plugins=[],
            components=COMPONENTS,
            security=[{SECURITY_SCHEME: []}] if keys else None,
        ),
        # Litestar would configure the process's loggers; that is the program's business.
        logging_config=None,
    )
    metrics.declare(
        routes={path: _statuses(handler) for handler in HANDLERS for path in sorted(handler.paths)}
        | {UNKNOWN_ROUTE: [404, 405]},
        error_types=sorted({problem.error_type for problem in PROBLEMS.values()}),
    )
    # Not Litestar middlewares: those do not see requests for unknown paths, and come after much of the work.

    def count_refusal() -> None:
        app.state.runtime.model().metrics.refused["bytes"].inc()

    bounded = BoundedBodies(
        app.asgi_handler,
        read_timeout=settings.read_timeout,
        most_bytes=settings.share_of(settings.max_body_bytes),
        refused=count_refusal,
    )
    app.asgi_handler = Telemetry(bounded, metrics, tracing)
    app.state.admission = Admission(app.state, _refusing_routes())
    return app


def _open_tracing(settings: ServerSettings) -> "Tracing | None":
    if settings.otlp_endpoint is None:
        return None
    try:
        from server.tracing import open_tracing
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"--otlp-endpoint needs the package {error.name}: pip install '.[tracing]' in disco's folder"
        ) from error
    return open_tracing(str(settings.otlp_endpoint))


def _refusing_routes() -> dict[str, Answer]:
    """The routes that answer 429 under overload, and how each of them tells it."""
    refusing = [handler for handler in HANDLERS if 429 in (handler.responses or {})]
    answers = [(handler, (handler.exception_handlers or {}).get(Exception, answer_native)) for handler in refusing]
    return {path: answer for handler, answer in answers for path in handler.paths if isinstance(answer, Answer)}


def _statuses(handler: HTTPRouteHandler) -> list[int]:
    return [handler.status_code, *(handler.responses or {})]
