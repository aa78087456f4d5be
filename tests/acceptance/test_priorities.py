"""Somebody who waits for one text does not notice that half of the machine works on requests of a thousand."""

from pathlib import Path

import pytest

from loadtest.measurement import OK
from tests.acceptance.conftest import Record
from tests.acceptance.load import answers_per_second, clients, describe, latency, measure, paced
from tests.acceptance.machine import halves, serve_apart

pytestmark = pytest.mark.slow

SECONDS = 30.0
BULK_TEXTS = 1000
INTERACTIVE_RATE = 50.0
"""Requests a second: few, so that it is bulk work that they wait for, enough for a p99."""
MOST_SLOWDOWN = 3


def test_interactive_requests_hardly_wait_for_bulk_work(tmp_path: Path, record: Record) -> None:
    interactive = paced(INTERACTIVE_RATE, seconds=SECONDS)
    with serve_apart(tmp_path / "log", "--max-client-batch-size", str(BULK_TEXTS)) as url:
        (full,) = measure(url, clients(3, seconds=SECONDS, texts_per_request=BULK_TEXTS), seconds=SECONDS)
        half = paced(
            answers_per_second(full) / 2, seconds=SECONDS, texts_per_request=BULK_TEXTS, seed=1, arrivals="constant"
        )
        (alone,) = measure(url, interactive, seconds=SECONDS)
        beside, bulk = measure(url, interactive, half, seconds=SECONDS)
    slowdown = latency(beside, 99) / latency(alone, 99)
    record(
        "priorities",
        {
            "cores_of_server": len(halves()[0]),
            "p99_of_p99_alone": round(slowdown, 3),
            "bulk_texts_per_second": round(answers_per_second(bulk) * BULK_TEXTS, 1),
            "bulk_alone": describe(full),
            "interactive_alone": describe(alone),
            "interactive_beside_bulk": describe(beside),
            "bulk_beside_interactive": describe(bulk),
        },
    )
    assert set(beside.outcomes) == set(bulk.outcomes) == {OK}
    assert slowdown <= MOST_SLOWDOWN
