"""The student this project ships: small, honest about its figures, and served as it was measured."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from bundle.embedder import Embedder
from bundle.layout import open_bundle
from bundle.sts import data_directory, evaluate
from tests.e2e.conftest import SHIPPED, RunningServer

TEXTS = [
    "Hi",
    "How do I reset my password?",
    "A man is playing a guitar on stage while the crowd sings along.",
    "The committee postponed its decision until the spring, because two of its members had not read the report.",
    " ".join(["Rivers carry silt to the sea, where it settles and slowly becomes stone."] * 12),
]


def test_it_is_small_and_complete() -> None:
    files = [path for path in SHIPPED.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 20_000_000
    names = {path.relative_to(SHIPPED).as_posix() for path in files}
    assert {"manifest.json", "quality.json", "README.md", "tokenizer.json", "modules.json"} <= names
    open_bundle(SHIPPED)


def test_its_card_and_manifest_carry_no_path_of_a_machine() -> None:
    for name in ("manifest.json", "quality.json", "README.md"):
        text = (SHIPPED / name).read_text()
        assert "/home/" not in text
        assert "/tmp/" not in text
        assert "/root/" not in text


def test_it_is_above_eighty_on_the_seven_sts_tasks_as_its_quality_file_says() -> None:
    data = data_directory()
    if data is None:
        pytest.skip("needs the STS files: set DISCO_DATA")
    measured = evaluate(Embedder.from_bundle(open_bundle(SHIPPED), threads=2).embed, data)
    assert measured.mean >= 80.0


def test_vectors_do_not_depend_on_company_or_load(shipped_server: RunningServer) -> None:
    embedder = Embedder.from_bundle(open_bundle(SHIPPED))
    alone = np.concatenate([embedder.embed([text]) for text in TEXTS])
    many = TEXTS * 100
    with ThreadPoolExecutor(64) as clients:
        served = list(clients.map(lambda text: shipped_server.json("/embed", {"inputs": text})[0], many))
    cosines = (np.array(served).reshape(100, len(TEXTS), -1) * alone).sum(axis=-1)
    assert cosines.min() >= 0.99
    assert cosines.mean() >= 0.997


def test_ten_thousand_texts_leave_the_process_small(shipped_server: RunningServer) -> None:
    texts = [f"{text} {number}" for number in range(40) for text in TEXTS[:4]]
    for _ in range(60):
        shipped_server.call("/embed", {"inputs": texts})
    with ThreadPoolExecutor(16) as clients:
        list(clients.map(lambda text: shipped_server.call("/embed", {"inputs": text}), texts * 4))
    pids = [shipped_server.process.pid, *shipped_server.engines()]
    statuses = [Path(f"/proc/{pid}/status").read_text() for pid in pids]
    assert sum(int(status.partition("VmRSS:")[2].split()[0]) for status in statuses) <= 400 * 1024


def test_no_process_maps_what_it_does_not_need(shipped_server: RunningServer) -> None:
    mapped = Path(f"/proc/{shipped_server.process.pid}/maps").read_text()
    assert "tokenizers" in mapped
    assert not [library for library in ("libtorch", "onnxruntime", "disco_native") if library in mapped]
    engines = shipped_server.engines()
    assert engines
    for engine in engines:
        mapped = Path(f"/proc/{engine}/maps").read_text()
        # One of them; which one depends on the CPU and on whether the native engine is built.
        assert ("onnxruntime" in mapped) != ("disco_native" in mapped)
        assert "libtorch" not in mapped


def test_quality_is_json_and_names_the_seven_tasks() -> None:
    quality = json.dumps(json.loads((SHIPPED / "quality.json").read_text()))
    assert all(task in quality for task in ("STS12", "STS13", "STS14", "STS15", "STS16", "STSB", "SICK"))
