"""What HTTP, queue and event loop cost on top of the engine, measured in turns on the same texts and cores.

The generator takes its processor time from the server. Both ratios are written down: as measured, and with the server's
throughput scaled up to the cores that the generator left unused, which is what the server itself costs.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import pytest

from bundle.arrays import flatten
from bundle.embedder import Embedder
from bundle.layout import open_bundle
from bundle.provenance import available_cores
from bundle.runtime import open_encoder
from bundle.text import TextEncoder
from loadtest.corpus import MOST_TEXTS, generate_texts
from tests.acceptance.conftest import Record
from tests.acceptance.load import MANY_CLIENTS, answers_per_second, clients, latency, measure
from tests.e2e.conftest import SHIPPED, serve

pytestmark = pytest.mark.slow

ROUNDS = 5
SECONDS = 4.0
CHUNK = 256
"""Texts that the bare engine sorts by length at once: as many as the server's queue looks at."""
LEAST_SHARE = 0.8
MOST_MORE_SECONDS = 0.0005


@pytest.fixture(autouse=True)
def _one_tokenizing_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")  # as in the server


def test_http_keeps_most_of_the_engines_throughput(tmp_path: Path, record: Record) -> None:
    texts, cores = generate_texts(MOST_TEXTS, seed=0), available_cores()
    bundle = open_bundle(SHIPPED)
    embedders = [Embedder.from_bundle(bundle) for _ in range(cores)]
    bare, http, shares = [], [], []
    with serve(SHIPPED, tmp_path / "log", "--cache-bytes", "0") as server:
        for _ in range(ROUNDS):
            bare.append(embedded_per_second(embedders, texts))
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
    with serve(SHIPPED, tmp_path / "log", "--cache-bytes", "0") as server:
        for _ in range(ROUNDS):
            bare.append(bare_seconds(texts))
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


def embedded_per_second(embedders: Sequence[Embedder], texts: Sequence[str]) -> float:
    """Texts per second of one thread per embedder, each with a share of the texts."""
    began = time.perf_counter()

    def work(number: int) -> int:
        done = 0
        while time.perf_counter() - began < SECONDS:
            start = (done * len(embedders) + number * CHUNK) % (len(texts) - CHUNK)
            embedders[number].embed(texts[start : start + CHUNK])
            done += CHUNK
        return done

    with ThreadPoolExecutor(len(embedders)) as threads:
        done = sum(threads.map(work, range(len(embedders))))
    return done / (time.perf_counter() - began)


def bare_seconds(texts: Sequence[str]) -> float:
    """The median time of tokenising and embedding one text."""
    bundle = open_bundle(SHIPPED)
    text_encoder, encoder = TextEncoder.from_bundle(bundle), open_encoder(bundle, threads=1)
    times = []
    for text in texts:
        began = time.perf_counter()
        encoder.encode(*flatten(text_encoder.encode([text])))
        times.append(time.perf_counter() - began)
    return median(times)
