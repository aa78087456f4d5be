"""A server from this project's own environment, for clients that live in another one."""

import os
from collections.abc import Iterator

import httpx
import numpy as np
import pytest

from tests.e2e.conftest import SHIPPED, RunningServer, serve

SERVER_PYTHON = os.environ["SERVER_PYTHON"]
"""The interpreter of the environment that the server is installed in; `make test-all` sets it."""
KEY = "a-key"
TEXTS = ["A man is playing a guitar.", "Someone plays an instrument.", "The stock market fell sharply today."]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with serve(SHIPPED, tmp_path_factory.mktemp("server") / "log", python=SERVER_PYTHON) as running:
        yield running


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that asks for `KEY`."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "keys").write_text(KEY)
    with serve(SHIPPED, folder / "log", "--api-keys", str(folder / "keys"), python=SERVER_PYTHON) as running:
        yield running


@pytest.fixture(scope="session")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that takes one text at a time, and forgets it."""
    options = ["--max-queue-items=1", "--max-client-batch-size=1", "--cache-bytes=0", "--workers=1"]
    with serve(SHIPPED, tmp_path_factory.mktemp("narrow") / "log", *options, python=SERVER_PYTHON) as running:
        yield running


@pytest.fixture(scope="session")
def vectors(server: RunningServer) -> np.ndarray:
    """What plain HTTP gets for `TEXTS`."""
    return np.array(httpx.post(server.url + "/embed", json={"inputs": TEXTS}).json())
