"""What HTTP, queue and event loop cost on top of the engine, measured in turns on the same texts and cores.

The generator takes its processor time from the server. Both ratios are written down: as measured, and with the server's
throughput scaled up to the cores that the generator left unused, which is what the server itself costs.
"""

from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from bundle.provenance import available_cores
from loadtest.bare_engine import SCRIPT, open_bare_engine
from loadtest.corpus import MOST_TEXTS, generate_texts
from tests.acceptance.conftest import Record
from tests.acceptance.load import MANY_CLIENTS, answers_per_second, clients, latency, measure
from tests.e2e.conftest import SHIPPED, serve

pytestmark = pytest.mark.slow

BARE = Path(__file__).parents[2] / SCRIPT
FRONT_ENDS = (1, 2)
ROUNDS = 5
SECONDS = 4.0
LEAST_SHARE = 0.8
MOST_MORE_SECONDS = 0.0005


def test_http_keeps_most_of_the_engines_throughput(tmp_path: Path, record: Record) -> None:
    texts, cores = generate_texts(MOST_TEXTS, seed=0), available_cores()
    servers: dict[int, _Served] = {}
    bare = []
    with open_bare_engine(SHIPPED, texts, script=BARE) as engine, ExitStack() as running:
        for front_ends in FRONT_ENDS:
            options = ("--cache-bytes", "0", "--front-ends", str(front_ends))
            server = running.enter_context(serve(SHIPPED, tmp_path / f"log-{front_ends}", *options))
            servers[front_ends] = _Served(server.url)
        for _ in range(ROUNDS):
            bare.append(engine.texts_per_second(SECONDS))
            for served in servers.values():
                served.load(texts)
    record(
        "overhead-throughput",
        {"bare_texts_per_second": [round(value) for value in bare]}
        | {f"front_ends_{number}": served.figures(median(bare), cores) for number, served in servers.items()},
    )
    assert max(served.net_share(median(bare), cores) for served in servers.values()) >= LEAST_SHARE


class _Served:
    """What one server did, round by round."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._texts_per_second: list[float] = []
        self._generator: list[float] = []

    def load(self, texts: list[str]) -> None:
        (measured,) = measure(self._url, clients(MANY_CLIENTS, seconds=SECONDS, texts=texts), seconds=SECONDS)
        self._texts_per_second.append(answers_per_second(measured))
        self._generator.append(measured.cpu_share)

    def share(self, bare: float) -> float:
        """Of the bare engine's texts per second."""
        return median(self._texts_per_second) / bare

    def net_share(self, bare: float, cores: int) -> float:
        """The same, scaled up to the cores that the generator left unused."""
        return self.share(bare) * cores / (cores - median(self._generator))

    def figures(self, bare: float, cores: int) -> dict[str, Any]:
        return {
            "http_of_bare": round(self.share(bare), 3),
            "http_of_bare_without_generator": round(self.net_share(bare, cores), 3),
            "generator_cores": round(median(self._generator), 3),
            "http_texts_per_second": [round(value) for value in self._texts_per_second],
        }


def test_one_short_text_takes_hardly_longer_over_http(tmp_path: Path, record: Record) -> None:
    texts = [f"how do i reset the password of account {number}" for number in range(1000)]
    bare, http, generator = [], [], []
    with (
        open_bare_engine(SHIPPED, texts, script=BARE) as engine,
        serve(SHIPPED, tmp_path / "log", "--cache-bytes", "0") as server,
    ):
        for _ in range(ROUNDS):
            bare.append(engine.seconds_of_one(SECONDS))
            (measured,) = measure(server.url, clients(1, seconds=SECONDS, texts=texts), seconds=SECONDS)
            http.append(latency(measured, 50))
            generator.append(measured.cpu_share / answers_per_second(measured))
    record(
        "overhead-latency",
        {
            "more_ms": round((median(http) - median(bare)) * 1e3, 3),
            "of_which_generator_ms": round(median(generator) * 1e3, 3),
            "bare_p50_ms": [round(value * 1e3, 3) for value in bare],
            "http_p50_ms": [round(value * 1e3, 3) for value in http],
        },
    )
    assert median(http) - median(bare) <= MOST_MORE_SECONDS
