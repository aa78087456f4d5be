"""Requests at a time when what waits takes too long: refused as every route does it, before anything is read."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from types import SimpleNamespace

import msgspec
import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from litestar import Litestar
from litestar.testing import TestClient
from uvicorn.server import ServerState

from bundle.layout import Bundle
from server.admission import Admission, AdmittingProtocol, Headers
from server.app import create_app
from server.connections import SURPLUS
from server.glance import plain_post
from server.model import Model
from server.settings import ServerSettings

REFUSAL = b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 2\r\n\r\n{}"


@pytest.fixture
def client(tiny_bundle: Bundle) -> Iterator[TestClient[Litestar]]:
    settings = ServerSettings(
        bundle=[f"a={tiny_bundle.path}", f"b={tiny_bundle.path}"], workers=1, isolate_engines=False
    )
    with TestClient(create_app(settings)) as client:
        yield client


def overload(model: Model) -> None:
    model.queue._limits = replace(model.queue._limits, seconds=-1.0)  # even an empty queue takes longer


def refuse(client: TestClient[Litestar], path: str, method: str = "POST", headers: Headers = ()) -> bytes | None:
    async def ask() -> bytes | None:
        return admission.refuse(method.encode(), path.encode(), headers)

    admission: Admission = client.app.state.admission
    return asyncio.run(ask())


def test_every_embedding_route_refuses_in_its_own_shape(client: TestClient[Litestar]) -> None:
    for model in client.app.state.runtime.models:
        overload(model)
    shapes = {"/embed?x=1": "error_type", "/": "error_type", "/similarity": "error_type", "/v2/embed": "message"}
    for path, field_name in [
        *shapes.items(),
        ("/v1/embeddings", "error"),
        ("/embed_all", "error_type"),
        ("/tokenize", "error_type"),
    ]:
        answer = refuse(client, path)
        assert answer is not None
        head, _, body = answer.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        assert lines[0] == b"HTTP/1.1 429 Too Many Requests"
        headers = dict(line.split(b": ") for line in lines[1:])
        assert headers[b"retry-after"] == b"1"
        assert int(headers[b"content-length"]) == len(body)
        assert len(headers[b"x-request-id"]) == 16
        assert field_name in msgspec.json.decode(body)
    metrics = client.get("/metrics").text
    assert 'disco_requests_total{route="/embed",status="429"} 1.0' in metrics
    assert 'disco_refused_requests_total{model="a",reason="seconds"} 7.0' in metrics
    assert 'disco_errors_total{type="Overloaded"} 7.0' in metrics


def test_refusals_of_one_moment_are_told_alike_and_counted_apart(
    client: TestClient[Litestar], monkeypatch: pytest.MonkeyPatch
) -> None:
    for model in client.app.state.runtime.models:
        overload(model)
    now = 100.0
    monkeypatch.setattr("server.admission.time", SimpleNamespace(monotonic=lambda: now))
    first, second = (refuse(client, "/embed", headers=[(b"x-request-id", b"mine")]) for _ in range(2))
    assert first == second
    assert first is not None
    assert b"-1 s may it" in first
    for model in client.app.state.runtime.models:
        model.queue._limits = replace(model.queue._limits, seconds=-2.0)
    assert refuse(client, "/embed", headers=[(b"x-request-id", b"mine")]) == first
    other_route = refuse(client, "/v2/embed")
    assert other_route is not None
    assert b"-2 s may it" in other_route
    now += 1
    later = refuse(client, "/embed", headers=[(b"x-request-id", b"mine")])
    assert later is not None
    assert b"-2 s may it" in later
    metrics = client.get("/metrics").text
    assert 'disco_requests_total{route="/embed",status="429"} 4.0' in metrics
    assert 'disco_refused_requests_total{model="a",reason="seconds"} 5.0' in metrics


def test_a_clients_request_id_comes_back_with_a_refusal(client: TestClient[Litestar]) -> None:
    for model in client.app.state.runtime.models:
        overload(model)
    answer = refuse(client, "/embed", headers=[(b"x-request-id", b"mine")])
    assert answer is not None
    assert b"\r\nx-request-id: mine\r\n" in answer


@pytest.mark.parametrize(("method", "path"), [("GET", "/ready"), ("GET", "/embed"), ("POST", "/x")])
def test_what_brings_no_texts_is_let_in(client: TestClient[Litestar], method: str, path: str) -> None:
    for model in client.app.state.runtime.models:
        overload(model)
    assert refuse(client, path, method) is None


def test_a_model_that_has_room_is_served_though_another_has_none(client: TestClient[Litestar]) -> None:
    overload(client.app.state.runtime.model("a"))
    assert refuse(client, "/embed") is None, "who is asked for is not known before the body is read"
    assert client.post("/embed", json={"inputs": "the cat", "model": "b"}).status_code == 200
    refused = client.post("/embed", json={"inputs": "the cat", "model": "a"})
    assert refused.status_code == 429
    assert "what waits takes" in refused.json()["error"]


def test_what_comes_at_once_counts_before_it_is_queued(client: TestClient[Litestar]) -> None:
    async def burst() -> list[bool]:
        admission: Admission = client.app.state.admission
        return [admission.refuse(b"POST", b"/embed", ()) is None for _ in range(10)]

    for model in client.app.state.runtime.models:
        model.queue._pace.note(texts=1, tokens=10, seconds=1.0)
        model.queue._limits = replace(model.queue._limits, seconds=3.0)
    for _ in range(2):
        assert asyncio.run(burst()) == [True] * 4 + [False] * 6


@dataclass
class Wire(asyncio.Transport):
    """What a client gets to see."""

    sent: bytes = b""
    closed: bool = False
    extra: dict[str, object] = field(default_factory=dict)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += bytes(data)

    def get_extra_info(self, name: str, default: object = None) -> object:
        return default

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Connection:
    """A connection to an application that answers 200 after `gate` was opened; `overloaded` requests are refused.

    Without `glances` all of them are parsed first.
    """

    def __init__(self, *, glances: bool = True, **state: bool) -> None:
        self.gate = asyncio.Event()
        self.overloaded = True
        self.asked: list[tuple[bytes, bytes]] = []
        self.wire = Wire()
        self.protocol = AdmittingProtocol(
            uvicorn.Config(self.answer, interface="asgi3", lifespan="off", log_config=None),
            ServerState(),
            dict(state),
            refuse=self.refuse,
            refusing=lambda: glances and self.overloaded,
            read_timeout=10.0,
            max_connections=100,
        )
        self.protocol.connection_made(self.wire)

    def refuse(self, method: bytes, url: bytes, headers: Headers) -> bytes | None:
        self.asked.append((method, url))
        if not self.overloaded or url == b"/info":
            return None
        return REFUSAL + dict(headers).get(b"x-request-id", b"")

    async def answer(self, scope: object, receive: object, send: uvicorn._types.ASGISendCallable) -> None:
        await self.gate.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def receive(self, data: bytes) -> bytes:
        """What is answered to `data`."""
        self.wire.sent = b""
        self.protocol.data_received(data)
        for _ in range(20):
            await asyncio.sleep(0)
        return self.wire.sent


def request(body: bytes = b"{}", *headers: str) -> bytes:
    lines = ["POST /embed HTTP/1.1", "host: x", f"content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def test_a_refusal_is_told_when_the_request_has_come_and_the_connection_goes_on() -> None:
    async def main() -> None:
        connection = Connection()
        whole = request(b"x" * 100_000)
        assert await connection.receive(whole[:50_000]) == b"", "the client is still sending"
        assert await connection.receive(whole[50_000:]) == REFUSAL
        assert await connection.receive(request() + request()) == 2 * REFUSAL
        connection.overloaded = False
        connection.gate.set()
        assert (await connection.receive(request())).startswith(b"HTTP/1.1 200")
        assert connection.asked == [(b"POST", b"/embed")] * 4
        assert not connection.wire.closed
        connection.protocol.connection_lost(None)

    asyncio.run(main())


def test_a_client_that_wants_no_more_is_left_alone() -> None:
    async def main() -> None:
        for last in (
            request(b"{}", "connection: close"),
            request(b"{}", "connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0"),
        ):
            connection = Connection()
            told = await connection.receive(last)
            assert told.replace(b"connection: close\r\n", b"") == REFUSAL
            assert b"\r\nconnection: close\r\n" in told
            assert connection.wire.closed

    asyncio.run(main())


def test_after_a_refusal_the_connection_waits_as_long_as_after_an_answer() -> None:
    async def main() -> None:
        connection = Connection()
        timers = []
        for overloaded in (True, False):
            connection.overloaded = overloaded
            connection.gate.set()
            await connection.receive(request())
            assert connection.protocol._head_timer is None
            assert connection.protocol.timeout_keep_alive_task is not None
            timers.append(connection.protocol.timeout_keep_alive_task.when() - asyncio.get_running_loop().time())
        assert timers == pytest.approx([connection.protocol.timeout_keep_alive] * 2, abs=1.0)
        connection.overloaded = True
        await connection.receive(request(b"x" * 10)[:-1])
        assert connection.protocol._head_timer is not None, "the rest of a body that is refused is not waited for long"
        connection.protocol.connection_lost(None)

    asyncio.run(main())


def test_a_client_that_reads_no_answers_gets_no_refusals_piled_up() -> None:
    async def main() -> None:
        connection = Connection()
        assert await connection.receive(request()) == REFUSAL
        connection.protocol.flow.pause_writing()
        assert await connection.receive(request()) == b""
        assert len(connection.asked) == 1
        connection.protocol.connection_lost(None)

    asyncio.run(main())


def test_answers_keep_the_order_of_requests() -> None:
    async def main() -> None:
        connection = Connection()
        connection.overloaded = False
        assert await connection.receive(request()) == b""
        connection.overloaded = True
        assert await connection.receive(request()) == b"", "a refusal would be taken for the first one's answer"
        connection.gate.set()
        assert (await connection.receive(b"")).count(b"HTTP/1.1 200") == 2
        assert await connection.receive(request()) == REFUSAL
        connection.protocol.connection_lost(None)

    asyncio.run(main())


def test_surplus_connections_and_clients_that_ask_first_are_let_in() -> None:
    async def main() -> None:
        surplus, asking = Connection(**{SURPLUS: True}), Connection()
        for connection, headers in ((surplus, ()), (asking, ("expect: 100-continue",))):
            connection.gate.set()
            assert b"HTTP/1.1 200" in await connection.receive(request(b"{}", *headers))
            connection.protocol.connection_lost(None)

    asyncio.run(main())


PLAIN = [
    request(),
    request(b""),
    request(b"x" * 70_000),
    request(b"{}", "connection: keep-alive", "accept: */*"),
    request(b"{}", "Connection: Keep-Alive"),
    request(b"POST /embed HTTP/1.1\r\ncontent-length: 0\r\n\r\n"),
]
UNUSUAL = [
    request(b"{}", "x-request-id: mine"),
    request(b"{}", "X-Request-Id:mine"),
    request(b"{}", "expect: 100-continue"),
    request(b"{}", "content-length: 2"),
    request(b"{}", "content-length:2"),
    request(b"{}", "content-lengths: 2"),
    request().replace(b"content-length: 2", b"Content-Length:2"),
    request().replace(b"POST", b"GET"),
    request().replace(b"content-length: 2", b"transfer-encoding: chunked").replace(b"{}", b"2\r\n{}\r\n0\r\n\r\n"),
]
NEVER_REFUSED = [request().replace(b"/embed", b"/info")]
LAST_REQUESTS = [
    b"",
    # What not every parser reads alike, or ours refuses.
    request(b"{}", "x: y\ntransfer-encoding: chunked"),
    request(b"{}", "x: y\nconnection: close"),
    request(b"{}", "x: y\rz"),
    request(b"{}", "x: \0"),
    request(b"{}", "no colon"),
    request(b"{}", "x : y"),
    request(b"{}", "x: y", " folded"),
    request().replace(b"/embed", b"/em\x01bed"),
    request(b"{}", "proxy-connection: close"),
    request(b"{}", "connection: close"),
    request(b"{}", "Connection: keep-alive, close"),
    request().replace(b"HTTP/1.1", b"HTTP/1.0"),
    request()[:-1],
    b"POST /emb",
    b"\x16\x03\x01",
]


@given(
    st.lists(st.sampled_from([*PLAIN, *UNUSUAL, *NEVER_REFUSED]), max_size=5),
    st.sampled_from(LAST_REQUESTS),
    st.lists(st.integers(0, 500), max_size=4),
    st.booleans(),
)
def test_a_glance_refuses_nothing_that_the_parser_would_not_refuse_alike(
    requests: list[bytes], last: bytes, cuts: list[int], cut_between: bool
) -> None:
    """Whole requests one by one, or all of them cut into pieces anywhere."""
    stream = b"".join([*requests, last])
    places = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    pieces = [*requests, last] if cut_between else [stream[a:b] for a, b in pairwise(places)]

    async def answers(*, glances: bool) -> tuple[list[bytes], bool]:
        connection = Connection(glances=glances)
        connection.gate.set()
        told = [await connection.receive(piece) for piece in pieces if not connection.wire.closed]
        connection.protocol.connection_lost(None)
        return told, connection.wire.closed

    assert asyncio.run(answers(glances=True)) == asyncio.run(answers(glances=False))


@pytest.mark.parametrize("data", PLAIN)
def test_plain_requests_are_known_at_a_glance(data: bytes) -> None:
    assert plain_post(data) == b"/embed"
    assert plain_post(data + b"P") is None
    assert plain_post(data[:-1]) is None
    assert plain_post(b"\r\n" + data) is None


@pytest.mark.parametrize("data", [*UNUSUAL, *LAST_REQUESTS, request(b"", "x: " + "x" * 5000)])
def test_anything_else_is_left_to_the_parser(data: bytes) -> None:
    assert plain_post(data) is None
