"""What HTTP, queue and event loop cost on top of the engine, measured in turns on the same texts and cores.

The generator takes its processor time from the server. Both ratios are written down: as measured, and with the server's
throughput scaled up to the cores that the generator left unused, which is what the server itself costs.
"""

from pathlib import Path
from statistics import median

import pytest

from bundle.provenance import available_cores
from loadtest.bare_engine import SCRIPT, open_bare_engine
from loadtest.corpus import MOST_TEXTS, generate_texts
from tests.acceptance.conftest import Record
from tests.acceptance.load import MANY_CLIENTS, answers_per_second, clients, latency, measure
from tests.e2e.conftest import SHIPPED, serve

pytestmark = pytest.mark.slow

BARE = Path(__file__).parents[2] / SCRIPT
ROUNDS = 5
SECONDS = 4.0
LEAST_SHARE = 0.8
MOST_MORE_SECONDS = 0.0005


def test_http_keeps_most_of_the_engines_throughput(tmp_path: Path, record: Record) -> None:
    texts, cores = generate_texts(MOST_TEXTS, seed=0), available_cores()
    bare, http, shares = [], [], []
    with (
        open_bare_engine(SHIPPED, texts, script=BARE) as engine,
        serve(SHIPPED, tmp_path / "log", "--cache-bytes", "0") as server,
    ):
        for _ in range(ROUNDS):
            bare.append(engine.texts_per_second(SECONDS))
            (measured,) = measure(server.url, clients(MANY_CLIENTS, seconds=SECONDS, texts=texts), seconds=SECONDS)
            http.append(answers_per_second(measured))
            shares.append(measured.cpu_share)
    generator = median(shares)
    raw = median(http) / median(bare)
    net = raw * cores / (cores - generator)
    record(
        "overhead-throughput",
        {
            "http_of_bare": round(raw, 3),
            "http_of_bare_without_generator": round(net, 3),
            "generator_cores": round(generator, 3),
            "bare_texts_per_second": [round(value) for value in bare],
            "http_texts_per_second": [round(value) for value in http],
        },
    )
    assert net >= LEAST_SHARE


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
