"""The process around the application, where there is a single one: event loop, socket, signals, an orderly end."""

import asyncio
import signal
import ssl
from collections.abc import Callable
from functools import partial
from types import FrameType

import uvicorn
from litestar import Litestar

from server.admission import AdmittingProtocol
from server.app import create_app
from server.memory import settle
from server.runtime import Runtime
from server.settings import ServerSettings
from server.tls import server_context


def run(settings: ServerSettings) -> None:
    """Serve until SIGTERM or SIGINT, finish what was accepted, and return.

    Raises:
        DiscoError: the bundle cannot be served, or the API keys or the TLS certificate cannot be read.
        SystemExit: the address cannot be listened on; uvicorn has logged why.
    """
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # there is nothing to reload yet
    app = create_app(settings)
    config = configure(app, settings, AdmittingProtocol)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_serve(app, config, linger=settings.linger_seconds))


def configure(app: Litestar, settings: ServerSettings, protocol: Callable[..., AdmittingProtocol]) -> uvicorn.Config:
    """How uvicorn is to serve the application, with what makes its protocols.

    Raises:
        TlsError: the certificate or its key cannot be used.
    """
    tls = _tls(settings)
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=partial(  # type: ignore[arg-type]  # uvicorn only ever calls it
            protocol,
            refuse=app.state.admission.refuse,
            refusing=app.state.admission.refusing,
            read_timeout=settings.read_timeout,
            max_connections=settings.share_of(settings.max_connections),
        ),
        ws="none",
        ssl_context_factory=(lambda *_: tls) if tls else None,
        lifespan="off",  # `_serve` holds it, so that a bundle that cannot be served is an exception, not a log line
        access_log=False,
        log_config=None,
        server_header=False,
        # What is sent just as a connection is closed is lost, so the client had better be the one to close it.
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=settings.drain_seconds,
    )


def _tls(settings: ServerSettings) -> ssl.SSLContext | None:
    if settings.tls_certificate is None:
        return None
    password = settings.tls_key_password.get_secret_value() if settings.tls_key_password else None
    return server_context(settings.tls_certificate, settings.tls_key, password)


async def _serve(app: Litestar, config: uvicorn.Config, *, linger: float) -> None:
    async with app.lifespan(), asyncio.TaskGroup() as reloads:
        runtime: Runtime = app.state.runtime
        if hasattr(signal, "SIGHUP"):
            asyncio.get_running_loop().add_signal_handler(
                signal.SIGHUP, lambda: reloads.create_task(runtime.try_reload())
            )
        settle()
        await _DrainingServer(config, runtime, linger=linger).serve()


class _DrainingServer(uvicorn.Server):
    """Says "not ready" for a while before it stops listening, so that load balancers stop sending first."""

    def __init__(self, config: uvicorn.Config, runtime: Runtime, *, linger: float) -> None:
        super().__init__(config)
        self._runtime = runtime
        self._linger = linger

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002  a signal handler's signature
        # Unlike uvicorn's own, this does not raise the signal again afterwards: an orderly end is exit status 0.
        if self.should_exit:
            self.force_exit = True
        if sig == signal.SIGINT:
            self._linger = 0.0  # somebody at the keyboard is waiting
        self._runtime.draining = True
        self.should_exit = True

    async def shutdown(self, sockets: object = None) -> None:  # noqa: ARG002  uvicorn's signature
        await asyncio.sleep(self._linger)
        await super().shutdown()
