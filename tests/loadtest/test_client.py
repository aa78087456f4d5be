import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from loadtest.client import Client, Endpoint, Reply, TransferError

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Peer:
    """A server that speaks exactly the bytes a test wants, and counts the connections it got."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.connections = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await reader.readexactly(4)  # the body
                await self._answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def answering(*chunks: bytes) -> Answer:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for chunk in chunks:
            writer.write(chunk)
            await writer.drain()

    return answer


async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def stay_silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


@asynccontextmanager
async def connected(answer: Answer, *, connections: int = 1) -> AsyncIterator[tuple[Peer, Client, bytes]]:
    peer = Peer(answer)
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    peer.port = server.sockets[0].getsockname()[1]
    endpoint = Endpoint.from_url(f"http://127.0.0.1:{peer.port}/embed")
    client = Client(endpoint, connections=connections)
    try:
        yield peer, client, endpoint.request(b"body")
    finally:
        await client.close()
        server.close()
        await asyncio.sleep(0.01)  # lets the peer see that the client hung up


def test_urls_are_taken_apart() -> None:
    assert Endpoint.from_url("https://example.org/a/embed") == Endpoint(
        "example.org", 443, True, "example.org", "/a/embed"
    )
    assert Endpoint.from_url("http://[::1]:8080/embed") == Endpoint("::1", 8080, False, "[::1]:8080", "/embed")


def test_a_request_is_complete() -> None:
    request = Endpoint.from_url("http://localhost:8080/embed").request("ä".encode(), api_key="k")
    head, body = request.split(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /embed HTTP/1.1"
    assert {"Host: localhost:8080", "Content-Length: 2", "Authorization: Bearer k"} <= set(lines)
    assert body.decode() == "ä"
    assert b"Authorization" not in Endpoint.from_url("http://localhost/").request(b"")


def test_one_connection_serves_request_after_request() -> None:
    async def scenario() -> None:
        async with connected(answering(OK)) as (peer, client, request):
            assert [await client.send(request) for _ in range(5)] == [Reply(200, b"hi")] * 5
            assert peer.connections == 1

    asyncio.run(scenario())


def test_concurrent_requests_share_a_bounded_pool() -> None:
    async def scenario() -> None:
        async with connected(answering(OK), connections=3) as (peer, client, request):
            replies = await asyncio.gather(*(client.send(request) for _ in range(50)))
            assert replies == [Reply(200, b"hi")] * 50
            assert peer.connections == 3

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "chunks",
    [
        [bytes([byte]) for byte in OK],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n", b"1\r\ni\r\n0\r\n\r\n"],
        [b"HTTP/1.1 103 Early Hints\r\n\r\n", OK],
    ],
    ids=["byte by byte", "chunked", "interim answer first"],
)
def test_answers_come_in_many_forms(chunks: list[bytes]) -> None:
    async def scenario() -> None:
        async with connected(answering(*chunks)) as (_, client, request):
            assert await client.send(request) == Reply(200, b"hi")
            assert await client.send(request) == Reply(200, b"hi")

    asyncio.run(scenario())


def test_the_servers_wish_to_close_is_respected() -> None:
    closing = b"HTTP/1.1 503 Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

    async def scenario() -> None:
        async with connected(answering(closing)) as (peer, client, request):
            assert (await client.send(request)).status == 503
            assert (await client.send(request)).status == 503
            assert peer.connections == 2

    asyncio.run(scenario())


def test_an_idle_connection_that_died_is_not_used_again() -> None:
    async def answer_and_hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answering(OK)(reader, writer)
        writer.close()

    async def scenario() -> None:
        async with connected(answer_and_hang_up) as (peer, client, request):
            for _ in range(3):
                assert await client.send(request) == Reply(200, b"hi")
                await asyncio.sleep(0.05)
            assert peer.connections == 3

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("answer", "kind"), [(hang_up, "connection lost"), (answering(b"SSH-2.0-OpenSSH\r\n"), "not HTTP")]
)
def test_broken_answers_are_told_apart(answer: Answer, kind: str) -> None:
    async def scenario() -> None:
        async with connected(answer) as (_, client, request):
            with pytest.raises(TransferError, match=kind):
                await client.send(request)

    asyncio.run(scenario())


def test_nobody_there_cannot_be_connected_to() -> None:
    async def scenario() -> None:
        async with connected(answering(OK)) as (peer, _, request):
            free_port = peer.port
        client = Client(Endpoint.from_url(f"http://127.0.0.1:{free_port}/"), connections=1)
        with pytest.raises(TransferError, match="cannot connect") as caught:
            await client.send(request)
        assert isinstance(caught.value.__cause__, OSError)

    asyncio.run(scenario())


def test_a_cancelled_request_gives_its_place_back_on_a_fresh_connection() -> None:
    async def scenario() -> None:
        async with connected(stay_silent) as (peer, client, request):
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await client.send(request)
            assert peer.connections == 3

    asyncio.run(scenario())
