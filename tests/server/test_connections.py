"""Clients on raw sockets that are slow, silent or too many, against a real uvicorn."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from bundle.layout import Bundle
from server.connections import SURPLUS_CONNECTIONS
from tests.server.test_main import Server, serving

BODY = b'{"inputs": "the cat"}'
HEAD = (
    f"POST /embed HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(BODY)}\r\n\r\n".encode()
)
READ_TIMEOUT = 0.5
LIMIT = 4


@pytest.fixture(scope="module")
def server(tiny_bundle: Bundle) -> Iterator[Server]:
    flags = ("--read-timeout", str(READ_TIMEOUT), "--keep-alive-seconds", "1", "--max-connections", str(LIMIT))
    with serving(tiny_bundle.path, *flags) as server:
        yield server


@contextmanager
def connection(server: Server) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])), timeout=30) as client:
        yield client


def until_closed(client: socket.socket) -> bytes:
    """Everything that comes until the server closes; a connection that stays open fails the test."""
    received = b""
    try:
        while some := client.recv(65536):
            received += some
    except ConnectionResetError:
        pass
    return received


def trickle(client: socket.socket, content: bytes) -> bytes:
    """Send byte after byte, always sooner than the server's patience ends, until it closes."""
    client.settimeout(READ_TIMEOUT / 10)
    received = b""
    for byte in content:
        try:
            client.sendall(bytes([byte]))
            some = client.recv(65536)
        except TimeoutError:
            continue
        except ConnectionError:
            return received
        if not some:
            return received
        received += some
    raise AssertionError("everything could be sent, slowly as it was")


def answer(client: socket.socket) -> tuple[bytes, bytes]:
    """Head and body of an answer on a connection that stays open."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += client.recv(65536)
    head, _, body = received.partition(b"\r\n\r\n")
    length = next(int(line.split(b":")[1]) for line in head.splitlines() if line.startswith(b"content-length:"))
    while len(body) < length:
        body += client.recv(65536)
    return head, body


def test_a_connection_that_sends_nothing_is_closed(server: Server) -> None:
    with connection(server) as client:
        assert until_closed(client) == b""


def test_a_head_that_comes_byte_by_byte_is_not_waited_for(server: Server) -> None:
    with connection(server) as client:
        assert trickle(client, HEAD.removesuffix(b"\r\n") + b"x-more: y\r\n" * 100) == b""


def test_line_ends_before_a_request_do_not_keep_a_connection_open(server: Server) -> None:
    with connection(server) as client:
        client.sendall(HEAD + BODY)
        head, _ = answer(client)
        assert head.startswith(b"HTTP/1.1 200")
        assert trickle(client, b"\r\n" * 1000) == b""


def test_a_body_that_comes_byte_by_byte_is_answered_with_408_and_closed(server: Server) -> None:
    before = server.metric('disco_requests_total{route="/embed",status="408"}')
    with connection(server) as client:
        client.sendall(HEAD.replace(str(len(BODY)).encode(), b"1000"))
        received = trickle(client, b" " * 1000)
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408")
    assert b"connection: close" in head
    assert json.loads(body)["error_type"] == "SlowRequest"
    assert server.metric('disco_requests_total{route="/embed",status="408"}') == before + 1


def test_a_body_in_parts_is_read_when_it_comes_in_time(server: Server) -> None:
    with connection(server) as client:
        for part in (HEAD[:20], HEAD[20:] + BODY[:5], BODY[5:]):
            client.sendall(part)
            time.sleep(READ_TIMEOUT / 20)
        head, body = answer(client)
    assert head.startswith(b"HTTP/1.1 200")
    assert len(json.loads(body)) == 1


@pytest.mark.parametrize(("limit", "status"), [(60, b"429"), (90, b"200")])
def test_all_bodies_together_are_bounded(tiny_bundle: Bundle, limit: int, status: bytes) -> None:
    with (
        serving(tiny_bundle.path, "--max-body-bytes", str(limit)) as server,
        connection(server) as first,
        connection(server) as second,
    ):
        first.sendall(HEAD.replace(str(len(BODY)).encode(), b"100") + b" " * 50)
        while server.metric("disco_requests_in_flight") < 2:  # it, and the question itself
            time.sleep(0.01)
        second.sendall(HEAD + BODY)
        head, body = answer(second)
        assert head.startswith(b"HTTP/1.1 " + status)
        if status == b"429":
            assert b"retry-after: 1" in head
            assert "60 bytes" in json.loads(body)["error"]
            assert server.metric('disco_refused_requests_total{model="tiny",reason="bytes"}') == 1
        first.sendall(b" " * (50 - len(BODY)) + BODY)
        assert answer(first)[0].startswith(b"HTTP/1.1 200"), "one body alone may be larger than the limit"
        second.sendall(HEAD + BODY)
        assert answer(second)[0].startswith(b"HTTP/1.1 200"), "what is answered takes no room"


def test_a_refused_body_that_goes_on_does_not_keep_a_connection_open(server: Server) -> None:
    with connection(server) as client:
        client.sendall(HEAD.replace(str(len(BODY)).encode(), b"100000000"))
        head, _ = answer(client)
        assert head.startswith(b"HTTP/1.1 413")
        assert trickle(client, b" " * 1000) == b""


def test_an_idle_connection_is_closed_and_a_busy_one_is_not(server: Server) -> None:
    with connection(server) as client:
        until = time.monotonic() + 3 * READ_TIMEOUT
        while time.monotonic() < until:
            client.sendall(HEAD + BODY)
            assert answer(client)[0].startswith(b"HTTP/1.1 200")
            time.sleep(READ_TIMEOUT / 10)
        assert until_closed(client) == b""


def test_connections_beyond_the_limit_are_told_to_come_back(tiny_bundle: Bundle) -> None:
    flags = ("--max-connections", str(LIMIT), "--keep-alive-seconds", "60")
    with serving(tiny_bundle.path, *flags) as server, ExitStack() as open_ones:
        for _ in range(LIMIT):
            client = open_ones.enter_context(connection(server))
            client.sendall(HEAD + BODY)
            answer(client)  # now the server has seen it
        for path, body_field in ((b"/embed", "error_type"), (b"/v1/embeddings", "error")):
            with connection(server) as surplus:
                surplus.sendall(HEAD.replace(b"/embed", path) + BODY)
                head, _, body = until_closed(surplus).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 503")
            assert b"retry-after: 1" in head
            assert body_field in json.loads(body)
        with connection(server) as surplus:
            assert until_closed(surplus) == b"", "silent ones are closed sooner than others"
        assert server.metric('disco_requests_total{route="/embed",status="503"}') == 1, "metrics are still answered"
        client.sendall(HEAD + BODY)
        assert answer(client)[0].startswith(b"HTTP/1.1 200"), "those within the limit go on"


def test_far_too_many_connections_are_closed_at_once(tiny_bundle: Bundle) -> None:
    with serving(tiny_bundle.path, "--max-connections", "1") as server, ExitStack() as open_ones:
        clients = [open_ones.enter_context(connection(server)) for _ in range(2 * SURPLUS_CONNECTIONS)]
        with suppress(ConnectionError):
            clients[-1].sendall(HEAD + BODY)
        assert until_closed(clients[-1]) == b""
