"""The real process: start, signals, disconnects, logs, and what it must never load."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

import httpx

from bundle.layout import Bundle
from tests.conftest import build_tiny_bundle

ROOT = Path(__file__).parents[2]
SECRET = "zanzibar"
# One text a batch, by one worker: work that lasts.
SLOWLY = ("--workers", "1", "--max-batch-items", "1", "--max-client-batch-size", "4096", "--linger-seconds", "1.5")


class Server:
    """A running `python -m server`."""

    def __init__(self, process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
        self.process = process
        self.url = url
        self._log = log

    def log(self) -> str:
        """What it has said so far."""
        return self._log.read_text()

    def metric(self, name: str) -> float:
        lines = httpx.get(f"{self.url}/metrics").text.splitlines()
        return next(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"{name} "))

    def stop(self) -> str:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)
        return self.log()


@contextmanager
def serving(bundle: Path, *flags: str, verify: ssl.SSLContext | bool = True) -> Iterator[Server]:
    """`verify`: what tells that a certificate is to be trusted, for a server with TLS."""
    port = free_port()
    command = [sys.executable, "-m", "server", "--bundle", str(bundle), "--port", str(port), *flags]
    with NamedTemporaryFile() as log:
        process = subprocess.Popen(command, cwd=ROOT, stderr=log)
        server = Server(process, f"{'http' if verify is True else 'https'}://127.0.0.1:{port}", Path(log.name))
        try:
            until(lambda: process.poll() is not None or answers(f"{server.url}/ready", verify))
            assert process.poll() is None, server.log()
            yield server
        finally:
            process.kill()
            process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(url: str, verify: ssl.SSLContext | bool) -> bool:
    try:
        return httpx.get(url, verify=verify).status_code == 200
    except httpx.TransportError:
        return False


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def distinct_texts(number: int) -> list[str]:
    return [" ".join("the" if bit == "0" else "cat" for bit in f"{i:012b}") for i in range(number)]


def raw_request(url: str, texts: list[str]) -> socket.socket:
    """Send an /embed request without waiting for its answer."""
    body = json.dumps({"inputs": texts}).encode()
    connection = socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])))
    head = f"POST /embed HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)
    return connection


def test_sigterm_says_not_ready_finishes_what_was_accepted_and_exits_with_0(tiny_bundle: Bundle) -> None:
    with serving(tiny_bundle.path, *SLOWLY) as server:
        connection = raw_request(server.url, distinct_texts(2000))
        until(lambda: server.metric('disco_queue_tokens{model="tiny"}') > 0)
        server.process.send_signal(signal.SIGTERM)
        until(lambda: httpx.get(f"{server.url}/ready").status_code == 503)
        answer = httpx.post(f"{server.url}/embed", json={"inputs": "late"})
        assert answer.status_code == 200, "while it lingers it still serves"
        with connection, connection.makefile("rb") as stream:
            assert stream.readline().startswith(b"HTTP/1.1 200")
        assert server.process.wait(timeout=30) == 0


def test_sighup_puts_a_changed_bundle_in_the_place_of_the_old_one(tmp_path: Path) -> None:
    path = build_tiny_bundle(tmp_path / "tiny").path
    with serving(path) as server:

        def vector() -> list[float]:
            first: list[float] = httpx.post(f"{server.url}/embed", json={"inputs": "the cat"}).json()[0]
            return first

        before = vector()
        build_tiny_bundle(path, scale=-1.0)
        server.process.send_signal(signal.SIGHUP)
        until(lambda: abs(vector()[0] + before[0]) < 1e-5)
        (path / "tokenizer.json").write_text("{}")
        server.process.send_signal(signal.SIGHUP)
        server.process.send_signal(signal.SIGHUP)
        until(lambda: abs(vector()[0] + before[0]) < 1e-5)
        log = server.stop()
    assert "reloaded: tiny" in log
    assert "not reloaded" in log
    assert "tokenizer.json is damaged" in log


def test_a_client_that_hangs_up_has_its_queued_texts_dropped(tiny_bundle: Bundle) -> None:
    with serving(tiny_bundle.path, *SLOWLY) as server:
        connection = raw_request(server.url, distinct_texts(4096))
        until(lambda: server.metric('disco_queue_tokens{model="tiny"}') > 0)
        connection.close()
        until(lambda: server.metric('disco_dropped_texts_total{model="tiny",reason="abandoned"}') > 0)
        until(lambda: server.metric('disco_queue_items{model="tiny"}') == 0)
        assert server.metric('disco_batch_items_sum{model="tiny"}') < 4096


def test_an_idle_connection_is_closed_when_its_time_is_over(tiny_bundle: Bundle) -> None:
    keep_alive = ("--keep-alive-seconds", "1")
    with serving(tiny_bundle.path, *keep_alive) as server, raw_request(server.url, ["the cat"]) as connection:
        connection.settimeout(30)
        assert connection.recv(15) == b"HTTP/1.1 200 OK"
        while connection.recv(65536):
            pass


def test_logs_carry_request_ids_and_never_texts(tiny_bundle: Bundle) -> None:
    with serving(tiny_bundle.path, "--json-logs", "--log-level", "debug") as server:
        for body in (f'{{"inputs": "{SECRET}"}}', f'{{"inputs": "{SECRET}', f'{{"inputs": ["{SECRET}", 5]}}'):
            httpx.post(f"{server.url}/embed", content=body, headers={"content-type": "application/json"})
        log = server.stop()
    lines = [json.loads(line) for line in log.splitlines()]
    assert {"time", "level", "logger", "request_id", "message"} <= set(lines[0])
    assert SECRET not in log


def test_a_damaged_bundle_is_refused_with_the_file_named(tmp_path: Path) -> None:
    bundle = build_tiny_bundle(tmp_path / "tiny")
    graph = bundle.path / bundle.manifest.graphs[0].path
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)
    done = run_server("--bundle", str(bundle.path))
    assert done.returncode == 1
    assert str(graph) in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_settings_are_told_without_a_traceback() -> None:
    done = run_server("--port", "70000", "--max-queue-items", "1")
    assert done.returncode == 2
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_lists_the_flags() -> None:
    done = run_server("--help")
    assert done.returncode == 0
    assert "--max-client-batch-size" in done.stdout


def run_server(*flags: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "server", *flags], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def test_serving_loads_no_training_stack_no_engine_and_no_traces_that_nobody_wants(tiny_bundle: Bundle) -> None:
    script = """
import os, sys
from litestar.testing import TestClient
from server.app import create_app
from server.settings import ServerSettings
import server.__main__, server.process

with TestClient(create_app(ServerSettings(bundle=[os.environ["TINY"]]))) as client:
    assert client.post("/embed", json={"inputs": "cat"}).status_code == 200
loaded = {name.partition(".")[0] for name in sys.modules}
training = {"torch", "transformers", "sentence_transformers", "optimum", "onnx", "datasets"}
# Litestar itself looks whether OpenTelemetry's API is there.
tracing = {"server.tracing", "opentelemetry.sdk", "opentelemetry.exporter"}
# Engines are processes of their own.
engines = {"onnxruntime", "openvino"}
print(sorted(loaded & (training | engines) | tracing & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "TINY": str(tiny_bundle.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
