"""What acceptance tests need of the machine: cores for the server alone, a process' memory, a place for figures."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bundle.atomic import write_atomically
from bundle.provenance import available_cores, commit, processor, versions
from tests.e2e.conftest import SHIPPED, serve

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks" / "acceptance"


@contextmanager
def serve_apart(log: Path, *options: str) -> Iterator[str]:
    """The shipped student on the server's cores, while the block runs on the generator's; yields the URL.

    Where they share cores, a generator of five times what the server can do takes most of them.
    """
    of_server, of_generator = halves()
    with on_cores(of_server), serve(SHIPPED, log, "--cache-bytes", "0", *options) as server, on_cores(of_generator):
        yield server.url


def halves() -> tuple[set[int], set[int]]:
    """The server's cores and the generator's."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("needs a core for the server and one for the generator")
    return set(cores[: len(cores) // 2]), set(cores[len(cores) // 2 :])


@contextmanager
def on_cores(cores: set[int]) -> Iterator[None]:
    """Keep this thread, and the processes that it starts, to `cores` for the length of the block."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def resident_kibibytes(pid: int) -> int:
    """The physical memory of a process; none where it has just ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return 0
    # A process that has ended, but has not been waited for, has no memory any more.
    return int(status.partition("VmRSS:")[2].split()[0]) if "VmRSS:" in status else 0


def write_figures(name: str, figures: dict[str, Any]) -> str:
    """Write `benchmarks/acceptance/NAME.json`, with what the figures depend on; returns the document."""
    document = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "processor": processor(),
        "cores": available_cores(),
        "versions": versions(["numpy", "onnxruntime", "litestar", "uvicorn"]),
        "figures": figures,
    }
    BENCHMARKS.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=2) + "\n"
    write_atomically(BENCHMARKS / f"{name}.json", text)
    return text
