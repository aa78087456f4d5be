"""Several front ends behind one address: real processes, killed and stopped as real ones are."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from pydantic import ValidationError

from bundle.layout import Bundle
from server import keeper
from server.errors import AddressError
from server.settings import ServerSettings
from server.supervisor import Supervisor
from tests.conftest import build_tiny_bundle
from tests.e2e.conftest import children
from tests.server.test_engine_process import is_running
from tests.server.test_main import Server, distinct_texts, free_port, raw_request, run_server, serving, until

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc to find the front ends")

PAIR = ("--front-ends", "2", "--workers", "2")
# One text a batch: work that lasts.
SLOWLY = (*PAIR, "--max-batch-items", "1", "--max-client-batch-size", "2048", "--linger-seconds", "1.5")
KEY = "k1"


@contextmanager
def serving_pair(bundle: Path, *flags: str) -> Iterator[Server]:
    with serving(bundle, *PAIR, *flags) as server:
        yield server


def embed(server: Server, text: str = "the cat") -> httpx.Response:
    """Over a connection of its own."""
    return httpx.post(f"{server.url}/embed", json={"inputs": text}, timeout=30)


def test_both_answer_alike_and_whichever_is_asked_tells_of_both(tiny_bundle: Bundle) -> None:
    with serving_pair(tiny_bundle.path, "--cache-bytes", "0") as server:
        vectors = [embed(server).json()[0] for _ in range(6)]
        np.testing.assert_array_equal(vectors, [vectors[0]] * 6)
        for _ in range(2):  # each of the two is asked once
            assert server.metric('disco_texts_total{model="tiny"}') == 6
            assert server.metric('disco_workers_alive{model="tiny"}') == 2
            assert server.metric("disco_front_ends_alive") == 2
        info = httpx.get(f"{server.url}/info").json()
        assert (info["workers"], info["front_ends"], info["max_concurrent_requests"]) == (2, 2, 4096)


def test_each_connection_goes_to_whoever_has_fewest(tiny_bundle: Bundle) -> None:
    port = free_port()
    settings = ServerSettings(bundle=[str(tiny_bundle.path)], front_ends=2, workers=2, port=port, linger_seconds=0)

    async def scenario() -> None:
        supervisor = Supervisor(settings)
        serving = asyncio.create_task(supervisor.run())
        connections: list[socket.socket] = []

        async def connect(number: int) -> None:
            connections.extend(socket.create_connection(("127.0.0.1", port)) for _ in range(number))
            await until_held(supervisor, len(connections))

        while not serving.done():
            try:
                await connect(1)
                break
            except ConnectionRefusedError:
                await asyncio.sleep(0.01)
        await connect(7)
        assert sorted(supervisor.held) == [4, 4]
        for connection in connections[::2]:  # they were dealt in turns: these are all of one front end's
            connection.close()
        del connections[::2]
        await until_held(supervisor, 4)
        assert sorted(supervisor.held) == [0, 4]
        await connect(4)
        assert sorted(supervisor.held) == [4, 4], "who has fewest gets the next one, whoever's turn it was"
        os.kill(os.getpid(), signal.SIGTERM)
        await serving
        for connection in connections:
            connection.close()

    asyncio.run(asyncio.wait_for(scenario(), 60))


async def until_held(supervisor: Supervisor, connections: int) -> None:
    while sum(supervisor.held) != connections:
        await asyncio.sleep(0.01)


def test_a_front_end_that_is_killed_is_replaced_while_the_other_serves(tiny_bundle: Bundle) -> None:
    with serving_pair(tiny_bundle.path) as server:
        assert all(embed(server).status_code == 200 for _ in range(4))
        assert server.metric('disco_texts_total{model="tiny"}') == 4
        victim, survivor = children(server.process.pid)
        engines = children(victim)
        os.kill(victim, signal.SIGKILL)
        until(lambda: httpx.get(f"{server.url}/health").status_code == 503)
        assert all(embed(server).status_code == 200 for _ in range(4)), "the other one answers"
        until(lambda: httpx.get(f"{server.url}/health").status_code == 200)
        assert server.metric("disco_front_end_restarts_total") == 1
        assert server.metric('disco_texts_total{model="tiny"}') == 8, "no count falls with a front end"
        assert survivor in children(server.process.pid)
        until(lambda: not any(map(is_running, engines)))
        log = server.stop()
    assert "front end 0 has ended (SIGKILL) and will be restarted" in log


def test_a_front_end_that_hangs_makes_the_whole_unhealthy(tiny_bundle: Bundle) -> None:
    with serving_pair(tiny_bundle.path) as server:
        hung = children(server.process.pid)[0]
        os.kill(hung, signal.SIGSTOP)
        try:
            with ExitStack() as open_until_the_end:
                probes = [open_until_the_end.enter_context(raw_health(server)) for _ in range(4)]
                # Some of them went to the one that hangs.
                assert {answer_of(probe) for probe in probes} == {b"", b"HTTP/1.1 503"}
        finally:
            os.kill(hung, signal.SIGCONT)
        until(lambda: httpx.get(f"{server.url}/health").status_code == 200)


def test_a_front_end_that_hangs_for_long_is_replaced(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "LOOK", 0.1)
    monkeypatch.setattr(keeper, "LONGEST_SILENCE", 0.5)
    settings = ServerSettings(
        bundle=[str(tiny_bundle.path)], front_ends=2, workers=2, port=free_port(), linger_seconds=0
    )

    others = set(children(os.getpid()))

    async def scenario() -> None:
        supervisor = Supervisor(settings)
        serving = asyncio.create_task(supervisor.run())
        while not await is_ready(settings.port):
            await asyncio.sleep(0.01)
        hung, well = set(children(os.getpid())) - others
        os.kill(hung, signal.SIGSTOP)
        while not any(supervisor.silent):
            await asyncio.sleep(0.01)
        async with httpx.AsyncClient() as client:
            for _ in range(4):
                answer = await client.post(
                    f"http://127.0.0.1:{settings.port}/embed", json={"inputs": "a"}, headers={"connection": "close"}
                )
                assert answer.status_code == 200, "connections go to the one that answers"
        while hung in children(os.getpid()) or not await is_ready(settings.port):
            await asyncio.sleep(0.01)
        assert well in children(os.getpid())
        os.kill(os.getpid(), signal.SIGTERM)
        await serving

    asyncio.run(asyncio.wait_for(scenario(), 60))


async def is_ready(port: int) -> bool:
    try:
        async with httpx.AsyncClient() as client:
            return (await client.get(f"http://127.0.0.1:{port}/ready", timeout=1)).status_code == 200
    except httpx.TransportError:
        return False


def answer_of(connection: socket.socket) -> bytes:
    """The first line's status; nothing where none comes."""
    connection.settimeout(5)
    try:
        return connection.recv(12)
    except TimeoutError:
        return b""


def raw_health(server: Server) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])))
    connection.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
    return connection


def test_sigterm_says_not_ready_finishes_what_was_accepted_and_exits_with_0(tiny_bundle: Bundle) -> None:
    with serving(tiny_bundle.path, *SLOWLY) as server, ExitStack() as open_until_the_end:
        connections = [
            open_until_the_end.enter_context(raw_request(server.url, distinct_texts(1500))) for _ in range(2)
        ]
        until(lambda: server.metric('disco_queue_items{model="tiny"}') > 1500)
        server.process.send_signal(signal.SIGTERM)
        until(lambda: httpx.get(f"{server.url}/ready").status_code == 503)
        assert embed(server).status_code == 200, "while it lingers it still serves"
        for connection in connections:
            with connection.makefile("rb") as stream:
                assert stream.readline().startswith(b"HTTP/1.1 200")
        assert server.process.wait(timeout=30) == 0


def test_whoever_asks_twice_does_not_wait(tiny_bundle: Bundle) -> None:
    with serving(tiny_bundle.path, *SLOWLY, "--linger-seconds", "30") as server:
        front_ends = children(server.process.pid)
        server.process.send_signal(signal.SIGTERM)
        until(lambda: httpx.get(f"{server.url}/ready").status_code == 503)
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(timeout=20)
        assert not any(map(is_running, front_ends))


def test_without_a_supervisor_they_finish_and_end(tiny_bundle: Bundle) -> None:
    with serving_pair(tiny_bundle.path) as server:
        front_ends = children(server.process.pid)
        engines = [engine for front_end in front_ends for engine in children(front_end)]
        assert len(engines) == 2
        server.process.kill()
        until(lambda: not any(map(is_running, [*front_ends, *engines])))


def test_a_changed_bundle_is_loaded_by_both_after_sighup_and_after_an_operators_call(tmp_path: Path) -> None:
    path = build_tiny_bundle(tmp_path / "tiny").path
    (tmp_path / "keys").write_text(f"{KEY}\n")
    headers = {"authorization": f"Bearer {KEY}"}

    with serving_pair(path, "--api-keys", str(tmp_path / "keys"), "--cache-bytes", "0") as server:

        def signs() -> set[bool]:
            """Of what both answer."""
            answers = [httpx.post(f"{server.url}/embed", json={"inputs": "a"}, headers=headers) for _ in range(2)]
            return {answer.json()[0][0] > 0 for answer in answers}

        before = signs()
        build_tiny_bundle(path, scale=-1.0)
        server.process.send_signal(signal.SIGHUP)
        until(lambda: signs() == {not sign for sign in before})
        build_tiny_bundle(path)
        answer = httpx.post(f"{server.url}/admin/reload", headers=headers, timeout=60)
        assert answer.json()["replaced"] == ["tiny"]
        assert signs() == before
        (path / "tokenizer.json").write_text("{}")
        answer = httpx.post(f"{server.url}/admin/reload", headers=headers, timeout=60)
        assert answer.status_code == 409
        assert "damaged" in answer.json()["error"]
        assert signs() == before
        server.process.send_signal(signal.SIGHUP)
        until(lambda: all(f"front end {number}: not reloaded: " in server.log() for number in range(2)))
        assert signs() == before
        log = server.stop()
    assert "front end 0: reloaded: tiny" in log
    assert "front end 1: reloaded: tiny" in log


def test_one_that_is_replaced_serves_what_the_others_serve_or_nothing(tmp_path: Path) -> None:
    path = build_tiny_bundle(tmp_path / "tiny").path
    with serving_pair(path, "--cache-bytes", "0") as server:
        before = embed(server).json()
        build_tiny_bundle(path, scale=-1.0)
        os.kill(children(server.process.pid)[0], signal.SIGKILL)
        until(lambda: "front end 0 cannot be restarted: a bundle has changed on disk" in server.log())
        assert all(embed(server).json() == before for _ in range(4))
        assert server.metric("disco_ready") == 0
        server.process.send_signal(signal.SIGHUP)
        until(lambda: httpx.get(f"{server.url}/ready").status_code == 200)
        assert all(embed(server).json() != before for _ in range(4))
        assert server.metric("disco_ready") == 1


def test_a_burst_of_connections_waits_rather_than_being_cut_off(tiny_bundle: Bundle) -> None:
    many = 700  # more than are on their way to two front ends at a time
    with serving_pair(tiny_bundle.path) as server, ExitStack() as open_until_the_end:
        for front_end in children(server.process.pid):
            os.kill(front_end, signal.SIGSTOP)
        address = "127.0.0.1", int(server.url.rsplit(":", 1)[1])
        connections = [open_until_the_end.enter_context(socket.create_connection(address)) for _ in range(many)]
        for connection in connections:
            connection.sendall(b"GET /info HTTP/1.1\r\nhost: x\r\n\r\n")
        for front_end in children(server.process.pid):
            os.kill(front_end, signal.SIGCONT)
        for connection in connections:
            connection.settimeout(30)
            assert connection.recv(12) == b"HTTP/1.1 200"


@pytest.mark.parametrize("seconds", [0.3, 1.0])
def test_sigterm_while_it_starts_ends_it_in_good_order(tiny_bundle: Bundle, seconds: float) -> None:
    command = [sys.executable, "-m", "server", "--bundle", str(tiny_bundle.path), "--port", str(free_port()), *PAIR]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        until(lambda: bool(children(process.pid)))
        time.sleep(seconds)  # early and late in a start, which tells nobody how far it is
        front_ends = children(process.pid)
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    until(lambda: not any(map(is_running, front_ends)))


def test_what_cannot_be_served_is_told_once_and_none_is_left_running(tmp_path: Path) -> None:
    done = run_server(*PAIR, "--bundle", str(tmp_path / "gone"))
    assert done.returncode == 1
    assert done.stderr.count("python -m server:") == 1
    assert str(tmp_path / "gone") in done.stderr
    assert "Traceback" not in done.stderr


def test_a_taken_address_is_told(tiny_bundle: Bundle) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = ServerSettings(bundle=[str(tiny_bundle.path)], front_ends=2, workers=2, port=port)
        with pytest.raises(AddressError, match=rf"127\.0\.0\.1, port {port}: .*in use"):
            asyncio.run(Supervisor(settings).run())


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"workers": 3}, "workers=3 cannot be shared evenly among front_ends=2"),
        ({"max_queue_items": 600}, "max_queue_items=600 among front_ends=2 is below max_client_batch_size=512"),
        ({"api_keys": "keys", "rate_limit": 5}, "rate_limit counts in one process"),
    ],
)
def test_what_cannot_be_shared_is_refused(flags: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        ServerSettings.model_validate({"front_ends": 2, "workers": 2} | flags)
