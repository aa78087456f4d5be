"""A teacher that embeds a sample of what is asked, and what is told of how far both agree."""

import asyncio
import time
from collections import deque
from pathlib import Path

import numpy as np
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from bundle.layout import Bundle
from server.app import create_app
from server.errors import BundleConflictError
from server.metrics import Metrics
from server.runtime import running
from server.settings import ServerSettings
from server.shadow import Window, rank_agreement
from tests.conftest import WORDS, build_tiny_bundle

Client = TestClient[Litestar]


def value(client: Client, name: str, **labels: str) -> float:
    found = client.app.state.metrics.registry.get_sample_value(name, labels)
    assert found is not None
    return float(found)


def until(client: Client, name: str, count: float, **labels: str) -> None:
    deadline = time.monotonic() + 30
    while value(client, name, **labels) < count:
        assert time.monotonic() < deadline, f"{name} is {value(client, name, **labels)}"
        time.sleep(0.01)


def ask(client: Client, number: int) -> None:
    for word in range(number):
        text = f"{WORDS[word % len(WORDS)]} {WORDS[word * 7 % len(WORDS)]}"
        assert client.post("/embed", json={"inputs": [text, text]}).status_code == 200


def settings(bundle: Path, shadow: Path, share: float = 1.0) -> ServerSettings:
    return ServerSettings(
        bundle=[str(bundle)], workers=1, isolate_engines=False, shadow_bundle=shadow, shadow_share=share
    )


def test_a_model_agrees_with_itself(tiny_bundle: Bundle) -> None:
    with TestClient(create_app(settings(tiny_bundle.path, tiny_bundle.path))) as client:
        ask(client, 30)
        until(client, "disco_shadow_texts_total", 30, result="compared")
        assert value(client, "disco_shadow_cosine_bucket", le="0.999") == 0
        assert value(client, "disco_shadow_rank_correlation_count") > 0
        assert value(client, "disco_shadow_rank_correlation_bucket", le="0.99") == 0


def test_its_engine_has_gauges_of_its_own(tiny_bundle: Bundle) -> None:
    with TestClient(create_app(settings(tiny_bundle.path, tiny_bundle.path))) as client:
        assert value(client, "disco_workers_alive", model="shadow") == 1


def test_no_model_is_called_like_the_shadow(tiny_bundle: Bundle) -> None:
    taken = settings(tiny_bundle.path, tiny_bundle.path).model_copy(update={"bundle": [f"shadow={tiny_bundle.path}"]})

    async def start() -> None:
        async with running(taken, Metrics()):
            pytest.fail("it must not start")

    with pytest.raises(BundleConflictError, match="'shadow'"):
        asyncio.run(start())


def test_a_disagreement_shows(tiny_bundle: Bundle, tmp_path: Path) -> None:
    mirrored = build_tiny_bundle(tmp_path / "mirrored", scale=-1.0).path
    with TestClient(create_app(settings(tiny_bundle.path, mirrored))) as client:
        ask(client, 30)
        until(client, "disco_shadow_texts_total", 30, result="compared")
        assert value(client, "disco_shadow_cosine_bucket", le="0.0") == 30
        assert value(client, "disco_shadow_rank_correlation_bucket", le="0.99") == 0, "similarities are the same"


def test_with_other_dimensions_only_ranks_are_compared(tiny_bundle: Bundle, tmp_path: Path) -> None:
    narrow = build_tiny_bundle(tmp_path / "narrow", dimension=4).path
    with TestClient(create_app(settings(tiny_bundle.path, narrow))) as client:
        ask(client, 30)
        until(client, "disco_shadow_texts_total", 30, result="compared")
        assert value(client, "disco_shadow_cosine_count") == 0
        assert value(client, "disco_shadow_rank_correlation_count") > 0


def test_only_a_sample_is_compared_and_token_ids_are_not(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    with TestClient(create_app(settings(tiny_bundle.path, tiny_bundle.path, share=1e-9))) as client:
        ask(client, 20)
        assert value(client, "disco_shadow_texts_total", result="compared") == 0
    with TestClient(create_app(settings(tiny_bundle.path, tiny_bundle.path))) as client:
        client.post("/embed", json={"inputs": [[5, 6]]})
        until(client, "disco_shadow_texts_total", 1, result="skipped")


def test_rank_agreement_is_that_of_similarities() -> None:
    rng = np.random.default_rng(0)
    students = rng.standard_normal((20, 4)).astype(np.float32)
    turn = np.linalg.qr(rng.standard_normal((4, 4)))[0].astype(np.float32)
    window: Window = deque((student, student @ turn) for student in students)
    vector = rng.standard_normal(4).astype(np.float32)
    assert rank_agreement(window, vector, vector @ turn) == pytest.approx(1), "another space, the same neighbours"
    other = rng.standard_normal(4).astype(np.float32)
    assert rank_agreement(window, vector, other @ turn) < 0.9
