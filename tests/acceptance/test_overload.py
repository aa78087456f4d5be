"""Five times more than the server can do: it goes on doing what it can, as fast as before, and refuses the rest."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from loadtest.measurement import OK
from tests.acceptance.conftest import Record
from tests.acceptance.load import MANY_CLIENTS, REFUSED, answers_per_second, clients, describe, latency, measure, paced
from tests.acceptance.machine import halves, serve_apart

pytestmark = pytest.mark.slow

SECONDS = 10.0
OVERLOAD = 5
# p99 at 80 % load is a few batches long: what waits may not take longer than that either.
MOST_WAIT = 0.05


def test_overload_costs_nobody_who_is_accepted(tmp_path: Path, record: Record) -> None:
    with serve_apart(tmp_path / "unlimited") as url:
        (full,) = measure(url, clients(MANY_CLIENTS, seconds=SECONDS), seconds=SECONDS)
    capacity = answers_per_second(full)
    with serve_apart(tmp_path / "limited", "--max-queue-seconds", str(MOST_WAIT)) as url:
        (usual,) = measure(url, paced(0.8 * capacity, seconds=SECONDS), seconds=SECONDS)
        with watched(url) as seen:
            (over,) = measure(url, paced(OVERLOAD * capacity, seconds=SECONDS), seconds=SECONDS)
    goodput = answers_per_second(over) / capacity
    slowdown = latency(over, 99) / latency(usual, 99)
    record(
        "overload",
        {
            "cores_of_server": len(halves()[0]),
            "max_queue_seconds": MOST_WAIT,
            "goodput_of_capacity": round(goodput, 3),
            "p99_of_p99_at_80_percent": round(slowdown, 3),
            "p99_of_refusals_ms": round(latency(over, 99, REFUSED) * 1e3, 3),
            "full": describe(full),
            "at_80_percent": describe(usual),
            "overload": describe(over),
        },
    )
    assert set(over.outcomes) == {OK, REFUSED}
    assert seen["refused"] > 0
    assert seen["without Retry-After"] == 0
    assert latency(over, 99, REFUSED) <= latency(over, 99), "who is refused is told at once"
    assert goodput >= 0.9
    assert slowdown <= 2


@contextmanager
def watched(url: str) -> Iterator[Counter[str]]:
    """Ask now and then beside the load, and look at the headers of refusals, which the load generator does not."""
    seen: Counter[str] = Counter()
    done = threading.Event()

    def watch() -> None:
        with httpx.Client(base_url=url) as client:
            while not done.wait(0.1):
                answer = client.post("/embed", json={"inputs": f"watching, {seen.total()} seen"})
                if answer.status_code == 429:
                    seen["refused"] += 1
                    seen["without Retry-After"] += int(answer.headers.get("retry-after", "0")) < 1

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()
