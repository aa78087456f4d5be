"""How long an operator waits for a new process."""

import time
from pathlib import Path
from statistics import median

import pytest

from tests.acceptance.conftest import Record
from tests.e2e.conftest import SHIPPED, serve

pytestmark = pytest.mark.slow

STARTS = 5
MOST_SECONDS = 1.5


def test_it_is_ready_soon(tmp_path: Path, record: Record) -> None:
    seconds = [start(tmp_path / f"log-{number}") for number in range(STARTS)]
    record("start", {"median_seconds": round(median(seconds), 3), "seconds": [round(value, 3) for value in seconds]})
    assert median(seconds) <= MOST_SECONDS


def start(log: Path) -> float:
    """Seconds from the start of the process until /ready answers 200."""
    began = time.perf_counter()
    with serve(SHIPPED, log):
        return time.perf_counter() - began
