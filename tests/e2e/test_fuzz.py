"""Whatever bytes arrive, the server answers or hangs up, never with a 5xx, and goes on as before."""

import contextlib
import http.client
import json
import re
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.e2e.conftest import RunningServer

PATIENCE = 30
"""Seconds after which a server that neither answers nor hangs up is said to hang."""
BODIES: dict[str, dict[str, object]] = {
    "/embed": {"inputs": ["a cat", [101, 102]], "dimensions": 8, "normalize": False, "output_dtype": "int8"},
    "/": {"inputs": "a cat", "truncate": True, "truncation_direction": "left", "encoding_format": "base64"},
    "/similarity": {"inputs": {"queries": ["a cat"], "documents": ["a dog"]}, "top_k": 1, "parameters": {}},
    "/v1/embeddings": {"input": [101, 102], "model": "any", "encoding_format": "float", "user": "me"},
    "/v2/embed": {"texts": ["a cat"], "embedding_types": ["int8", "base64"], "truncate": "NONE"},
    "/tokenize": {"inputs": ["a cat"], "add_special_tokens": False, "prompt_name": None},
    "/decode": {"ids": [[101, 102], [103]], "skip_special_tokens": True},
    "/admin/reload": {},
}
NUMBERS = st.integers() | st.floats() | st.integers(min_value=2**63, max_value=2**4000)
LONE_SURROGATES = st.text(st.characters(codec=None), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | LONE_SURROGATES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(LONE_SURROGATES, inner, max_size=4),
    max_leaves=8,
)
# As many examples as fit into seconds, and as many as fit into minutes.
examples = pytest.mark.parametrize("number", [300, pytest.param(6_000, marks=pytest.mark.slow)])


@st.composite
def wrong_fields(draw: st.DrawFn, path: str) -> bytes:
    """A valid body, but for one or two fields."""
    body = dict(BODIES[path])
    names = st.sampled_from([*body, "inputs", "model", "unknown"])
    for name in draw(st.lists(names, min_size=1, max_size=2)):
        body[name] = draw(JSON)
    return json.dumps(body).encode()


@st.composite
def damaged(draw: st.DrawFn, path: str) -> bytes:
    """A valid body with some of its bytes replaced, removed or doubled."""
    body = json.dumps(BODIES[path]).encode()
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(body)))
        end = draw(st.integers(start, min(len(body), start + 8)))
        body = body[:start] + draw(st.binary(max_size=4) | st.just(body[start:end] * 2)) + body[end:]
    return body


@st.composite
def strange_text(draw: st.DrawFn, path: str) -> bytes:
    """A valid body with any bytes in its text."""
    return json.dumps(BODIES[path]).encode().replace(b"cat", draw(st.binary(max_size=40)))


@st.composite
def nested(draw: st.DrawFn, path: str) -> bytes:
    """A valid body with brackets in it, so deep that a reader may run out of stack."""
    opening, closing = draw(st.sampled_from([(b"[", b"]"), (b'{"a":', b"}")]))
    depth = draw(st.integers(1, 4_000))
    field = draw(st.sampled_from([*BODIES[path], "unknown"])).encode()
    deep = opening * depth + b"1" + closing * draw(st.sampled_from([depth, 0]))
    return json.dumps(BODIES[path] | {"first": 1}).encode()[:-1] + b', "%s": %s}' % (field, deep)


def bodies(path: str) -> st.SearchStrategy[bytes]:
    return st.one_of(wrong_fields(path), damaged(path), strange_text(path), nested(path), st.binary(max_size=200))


requests = st.sampled_from(sorted(BODIES)).flatmap(lambda path: st.tuples(st.just(path), bodies(path)))
content_types = st.sampled_from(
    ["application/json", "application/json; charset=utf-16", "text/plain", "multipart/form-data", "json", ""]
)


@st.composite
def raw_requests(draw: st.DrawFn) -> bytes:
    """A request whose body may be framed wrongly, and what else is sent on the same connection."""
    path, body = draw(requests)
    framing = draw(st.sampled_from(["length", "chunks", "both", "none"]))
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n".encode()
    if framing in ("length", "both"):
        off = st.integers(0, 2 * len(body) + 2).map(str) | st.sampled_from(["-1", "1e3", "9" * 30, "0x10", ""])
        head += f"Content-Length: {draw(st.just(str(len(body))) | off)}\r\n".encode()
    if framing in ("chunks", "both"):
        head += b"Transfer-Encoding: chunked\r\n"
        size = draw(st.just(f"{len(body):x}") | st.sampled_from(["0", "1", "ffffffffffffffff1", "-1", "zz", ""]))
        body = size.encode() + b"\r\n" + body + draw(st.sampled_from([b"\r\n0\r\n\r\n", b"\r\n", b""]))
    partial = body[: draw(st.just(len(body)) | st.integers(0, len(body)))]
    after = draw(st.just(b"") | st.binary(max_size=60) | st.just(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    return draw(st.just(head + b"\r\n" + partial + after) | st.binary(max_size=200))


@pytest.fixture
def server(shipped_server: RunningServer) -> Iterator[RunningServer]:
    """The server; after the test it must be what it was before."""
    known = {"inputs": "A child reads a book."}
    before = shipped_server.json("/embed", known)
    yield shipped_server
    assert shipped_server.call("/health") == b""
    assert shipped_server.json("/embed", known) == before
    assert 'disco_errors_total{type="Internal"} 0.0' in shipped_server.call("/metrics").decode()


def call(server: RunningServer, path: str, body: bytes, content_type: str) -> tuple[int, bytes]:
    with contextlib.closing(http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=PATIENCE)) as connection:
        connection.request("POST", path, body, {"Content-Type": content_type})
        reply = connection.getresponse()
        return reply.status, reply.read()


def send(server: RunningServer, data: bytes) -> bytes:
    """All that the server answers until it hangs up; nothing more is sent after `data`."""
    place, reply = urlsplit(server.url), b""
    with socket.create_connection((place.hostname, place.port), timeout=PATIENCE) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while received := connection.recv(65_536):
                reply += received
        except TimeoutError:
            raise
        except OSError:
            pass  # it hung up before it had read everything
    return reply


@examples
def test_any_body_is_answered_in_json_and_never_with_a_5xx(server: RunningServer, number: int) -> None:
    @settings(max_examples=number, deadline=None, suppress_health_check=list(HealthCheck))
    @given(requests, content_types)
    def check(request: tuple[str, bytes], content_type: str) -> None:
        path, body = request
        status, answer = call(server, path, body, content_type)
        assert status < 500
        json.loads(answer)

    check()


@examples
def test_any_bytes_on_a_connection_are_answered_or_it_is_closed(server: RunningServer, number: int) -> None:
    @settings(max_examples=number, deadline=None, suppress_health_check=list(HealthCheck))
    @given(raw_requests())
    def check(data: bytes) -> None:
        statuses = re.findall(rb"^HTTP/1\.[01] (\d{3}) ", send(server, data), re.MULTILINE)
        assert all(status < b"500" for status in statuses), statuses

    check()
