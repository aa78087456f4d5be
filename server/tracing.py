"""OpenTelemetry spans of requests and their stages, sent to a collector. Loaded only where traces are wanted.

Sampling, headers and time limits of the export follow the standard environment variables (`OTEL_…`).
"""

import threading
import time
from typing import Any

from litestar.types import Scope
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, format_trace_id, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from server.service import Embedded
from server.telemetry import Work

# Asked so often that the traces worth reading would be hard to find among them.
UNTRACED = {"/health", "/ready", "/metrics"}
# How long the end of the server waits for a collector that does not answer.
CLOSE_SECONDS = 3.0

_PROPAGATOR = TraceContextTextMapPropagator()
_CONTEXT_HEADERS = {name.encode() for name in _PROPAGATOR.fields}


class Tracing:
    """Makes spans and exports them in batches, on a thread of its own with a bounded queue."""

    def __init__(self, exporter: SpanExporter) -> None:
        """What the queue has no room for is dropped; requests never wait."""
        resource = Resource({"service.name": "disco"}).merge(OTELResourceDetector().detect())
        self._exporter = exporter
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("disco")

    def begin(self, scope: Scope) -> "RequestSpan | None":
        """Begin the span of a request, a child of what its `traceparent` header names; None: it is not traced."""
        if scope["path"] in UNTRACED:
            return None
        headers = {
            name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in _CONTEXT_HEADERS
        }
        method = scope["method"]  # type: ignore[typeddict-item]  # there are no WebSockets here
        return RequestSpan(self._tracer, method, _PROPAGATOR.extract(headers))

    def close(self) -> None:
        """Export what is left. Blocks, but not for long."""
        give_up = threading.Timer(CLOSE_SECONDS, self._exporter.shutdown)
        give_up.start()
        self._provider.shutdown()
        give_up.cancel()


class RequestSpan:
    """The span of one request."""

    def __init__(self, tracer: Tracer, method: str, context: Context) -> None:
        self._tracer = tracer
        self._method = method
        # Stages are timed by another clock than spans are.
        self._epoch_ns = time.time_ns() - time.perf_counter_ns()
        self._span = tracer.start_span(
            method, context, SpanKind.SERVER, attributes={"http.request.method": method}, start_time=self._now()
        )

    @property
    def trace_id(self) -> str:
        """As 32 hexadecimal digits."""
        return format_trace_id(self._span.get_span_context().trace_id)

    def end(self, *, route: str | None, status: int, request_id: str, work: Work | None) -> None:
        """End the span; `route` is None where there is no such route."""
        if self._span.is_recording():
            attributes: dict[str, Any] = {"http.response.status_code": status, "disco.request_id": request_id}
            if route is not None:
                self._span.update_name(f"{self._method} {route}")
                attributes["http.route"] = route
            if status >= 500:
                self._span.set_status(StatusCode.ERROR)
            if work is not None:
                attributes |= {"disco.model": work.model, "disco.texts": work.texts}
                if work.embedded is not None:
                    attributes["disco.tokens"] = work.embedded.tokens
                    self._add_stages(work.embedded)
            self._span.set_attributes(attributes)
        self._span.end(self._now())

    def _add_stages(self, embedded: Embedded[Any]) -> None:
        """One span after the other; `queue` and `inference` are means over the texts, as in the metrics."""
        context = set_span_in_context(self._span)
        begin = self._epoch_ns + int(embedded.began * 1e9)
        for stage, seconds in (
            ("tokenize", embedded.tokenize_seconds),
            ("queue", embedded.queue_seconds),
            ("inference", embedded.inference_seconds),
        ):
            child: Span = self._tracer.start_span(stage, context, start_time=begin)
            begin += int(seconds * 1e9)
            child.end(begin)

    def _now(self) -> int:
        return self._epoch_ns + time.perf_counter_ns()


def open_tracing(endpoint: str) -> Tracing:
    """Traces for the collector at `endpoint`, an URL without `/v1/traces`."""
    return Tracing(OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces"))
