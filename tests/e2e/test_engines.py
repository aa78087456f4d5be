"""Engines are processes: what happens to one of them under load."""

import os
import signal
import sys
import time
import urllib.error
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.conftest import SHIPPED, RunningServer, serve

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc to find the engines")


def test_every_request_is_answered_while_an_engine_is_killed_and_service_comes_back(tmp_path: Path) -> None:
    with serve(SHIPPED, tmp_path / "log", "--workers", "2", "--cache-bytes", "0") as server:
        first = server.json("/embed", {"inputs": "before"})
        before = server.engines()
        assert len(before) == 2
        statuses: list[int] = []

        def ask(number: int) -> None:
            if number == 100:
                os.kill(before[0], signal.SIGKILL)
            try:
                server.call("/embed", {"inputs": [f"text {number} of a few words {i}" for i in range(8)]})
                statuses.append(200)
            except urllib.error.HTTPError as error:
                statuses.append(error.code)

        with ThreadPoolExecutor(16) as clients:
            list(clients.map(ask, range(400)))
        assert len(statuses) == 400
        assert set(statuses) <= {200, 503}
        assert statuses.count(503) <= 16, "only what the engine held may fail"
        while not _healthy(server):
            time.sleep(0.05)
        assert before[0] not in server.engines()
        np.testing.assert_allclose(server.json("/embed", {"inputs": "before"}), first, atol=1e-6)
        assert "disco_worker_restarts_total" in server.call("/metrics").decode()


def test_no_engine_outlives_a_server_that_is_killed(tmp_path: Path) -> None:
    with serve(SHIPPED, tmp_path / "log") as server:
        orphans = server.engines()
        server.process.kill()
        server.process.wait()
        for _ in range(200):
            if not any(map(_runs, orphans)):
                return
            time.sleep(0.05)
        pytest.fail("an engine went on without its server")


def _healthy(server: RunningServer) -> bool:
    try:
        server.call("/health")
    except urllib.error.HTTPError:
        return False
    return True


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False
