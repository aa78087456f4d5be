import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from litestar.testing import TestClient
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from server.app import create_app
from server.logs import TRACE_ID, JsonFormatter
from server.settings import ServerSettings
from tests.server.test_main import ROOT, free_port

SECRET = "zanzibar"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
STAGES = ["tokenize", "queue", "inference"]


@pytest.fixture
def traced(settings: ServerSettings) -> ServerSettings:
    return settings_with(settings, "http://127.0.0.1:4318")


def settings_with(settings: ServerSettings, endpoint: str) -> ServerSettings:
    return ServerSettings.model_validate({**settings.model_dump(), "otlp_endpoint": endpoint})


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    monkeypatch.setattr("server.tracing.OTLPSpanExporter", lambda **_: exporter)
    return exporter


def by_name(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def attributes(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


def context_of(span: ReadableSpan) -> tuple[str, str]:
    assert span.context is not None
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"


def times(span: ReadableSpan) -> tuple[int, int]:
    assert span.start_time is not None
    assert span.end_time is not None
    return span.start_time, span.end_time


def test_a_request_is_a_span_of_the_clients_trace_with_its_stages(
    traced: ServerSettings, exported: InMemorySpanExporter
) -> None:
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "my-request"}
    with TestClient(create_app(traced)) as client:
        assert client.post("/embed", json={"inputs": ["the cat", "a dog"]}, headers=headers).status_code == 200
    spans = by_name(exported)
    assert sorted(spans) == sorted([*STAGES, "POST /embed"])
    request = spans["POST /embed"]
    assert request.kind == SpanKind.SERVER
    assert request.parent is not None
    assert (context_of(request)[0], f"{request.parent.span_id:016x}") == (TRACE, PARENT)
    assert attributes(request) == {
        "http.request.method": "POST",
        "http.route": "/embed",
        "http.response.status_code": 200,
        "disco.request_id": "my-request",
        "disco.model": "tiny",
        "disco.texts": 2,
        "disco.tokens": 8,
    }
    assert request.resource.attributes["service.name"] == "disco"
    edges = [times(request)[0], *(edge for stage in STAGES for edge in times(spans[stage])), times(request)[1]]
    assert edges == sorted(edges), "one after the other, within the request"
    for stage in STAGES:
        parent = spans[stage].parent
        assert parent is not None
        assert (f"{parent.trace_id:032x}", f"{parent.span_id:016x}") == context_of(request)


def test_failures_are_traced_and_no_span_holds_a_text(traced: ServerSettings, exported: InMemorySpanExporter) -> None:
    with TestClient(create_app(traced)) as client:
        client.post("/embed", json={"inputs": SECRET})
        client.post(f"/{SECRET}")
        client.post("/v1/embeddings", json={"input": [SECRET] * 65})
    spans = exported.get_finished_spans()
    unknown, refused = by_name(exported)["POST"], by_name(exported)["POST /v1/embeddings"]
    assert attributes(unknown)["http.response.status_code"] == 404
    assert attributes(refused)["http.response.status_code"] == 422
    assert attributes(refused)["disco.texts"] == 65
    assert not any(SECRET in span.to_json() for span in spans)


def test_server_errors_are_marked_and_probes_leave_no_span(
    traced: ServerSettings, exported: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TestClient(create_app(traced)) as client:
        for path in ("/health", "/ready", "/metrics"):
            client.get(path)
        monkeypatch.setattr("server.model.EmbeddingService.embed", None)
        assert client.post("/embed", json={"inputs": "cat"}).status_code == 500
    (span,) = exported.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR


def test_what_the_client_does_not_sample_is_not_exported(
    traced: ServerSettings, exported: InMemorySpanExporter
) -> None:
    with TestClient(create_app(traced)) as client:
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-00"}
        assert client.post("/embed", json={"inputs": "cat"}, headers=headers).status_code == 200
    assert exported.get_finished_spans() == ()


def test_json_logs_carry_the_trace(
    traced: ServerSettings, exported: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(json.loads(JsonFormatter().format(record)))

    logger = logging.getLogger("server.problems")
    handler = Lines()
    logger.addHandler(handler)
    try:
        with TestClient(create_app(traced)) as client:
            monkeypatch.setattr("server.model.EmbeddingService.embed", None)
            client.post("/embed", json={"inputs": "cat"}, headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    finally:
        logger.removeHandler(handler)
    assert [line["trace_id"] for line in lines] == [TRACE]
    assert TRACE_ID.get() is None


class _Stuck(SpanExporter):
    """A collector that takes what it gets and never returns, until it is shut down."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def export(self, _: Sequence[ReadableSpan]) -> SpanExportResult:
        self.over.wait()
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        self.over.set()


def test_a_collector_that_hangs_holds_up_neither_requests_nor_the_end(
    traced: ServerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = _Stuck()
    monkeypatch.setattr("server.tracing.OTLPSpanExporter", lambda **_: stuck)
    monkeypatch.setattr("server.tracing.CLOSE_SECONDS", 0.05)
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "4")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2")
    with TestClient(create_app(traced)) as client:
        for _ in range(10):
            assert client.post("/embed", json={"inputs": "cat"}).status_code == 200
        assert not stuck.over.is_set()
    assert stuck.over.is_set()


@pytest.fixture
def collector() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """A stand-in on the loopback: its address, and the path and body of each export."""
    received: list[tuple[str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", received
    server.shutdown()
    thread.join()
    server.server_close()


def test_spans_reach_a_collector_over_http(
    settings: ServerSettings, collector: tuple[str, list[tuple[str, bytes]]]
) -> None:
    address, received = collector
    with TestClient(create_app(settings_with(settings, address))) as client:
        client.post("/embed", json={"inputs": SECRET})
    assert {path for path, _ in received} == {"/v1/traces"}
    sent = b"".join(body for _, body in received)
    assert all(word in sent for word in (b"POST /embed", b"tokenize", b"queue", b"inference", b"disco.tokens"))
    assert SECRET.encode() not in sent


def test_the_standard_variable_is_an_endpoint_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")
    assert str(ServerSettings().otlp_endpoint) == "http://collector:4318/"
    monkeypatch.setenv("DISCO_OTLP_ENDPOINT", "http://other:4318")
    assert str(ServerSettings().otlp_endpoint) == "http://other:4318/"


def test_without_the_packages_the_flag_says_what_to_install() -> None:
    script = """
import sys
sys.modules["opentelemetry.sdk.trace"] = None
from server.__main__ import main
sys.argv[1:] = ["--otlp-endpoint", "http://127.0.0.1:4318", "--port", "%d"]
sys.exit(main())
"""
    command = [sys.executable, "-c", script % free_port()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
    assert "pip install '.[tracing]'" in done.stderr
