from pathlib import Path
from typing import Any

import pytest
from httpx import Response
from hypothesis import given
from hypothesis import strategies as st
from litestar import Litestar
from litestar.testing import TestClient

from server.app import create_app
from server.rates import BURST_SECONDS, RateLimits
from server.settings import ServerSettings
from tests.server.test_metrics import samples

KEY = b"key"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def limits(rate: float, clock: Clock) -> RateLimits:
    return RateLimits(rate, is_valid=lambda _: True, clock=clock)


def test_a_burst_is_granted_and_then_the_rate() -> None:
    clock = Clock()
    rates = limits(2.0, clock)
    assert rates.take(KEY, 2 * BURST_SECONDS) == 0
    assert rates.take(KEY, 1) == pytest.approx(0.5)
    clock.now += 0.5
    assert rates.take(KEY, 1) == 0
    assert rates.take(KEY, 1) > 0


def test_a_request_is_granted_whole_or_not_at_all() -> None:
    clock = Clock()
    rates = limits(1.0, clock)
    assert rates.take(KEY, BURST_SECONDS - 2) == 0
    assert rates.take(KEY, 3) == pytest.approx(1.0)
    assert rates.take(KEY, 2) == 0, "the refused one took nothing"


def test_a_request_larger_than_the_burst_waits_for_a_full_bucket_and_is_paid_for_later() -> None:
    clock = Clock()
    rates = limits(1.0, clock)
    assert rates.take(KEY, 5 * BURST_SECONDS) == 0
    assert rates.take(KEY, 1) == pytest.approx(4 * BURST_SECONDS + 1)
    assert rates.take(KEY, 5 * BURST_SECONDS) == pytest.approx(5 * BURST_SECONDS)


def test_keys_have_buckets_of_their_own_which_go_with_them() -> None:
    clock = Clock()
    valid = {b"a", b"b"}
    rates = RateLimits(1.0, is_valid=valid.__contains__, clock=clock)
    assert rates.take(b"a", BURST_SECONDS) == rates.take(b"b", BURST_SECONDS) == 0
    assert rates.take(b"a", 1) > 0
    valid.symmetric_difference_update({b"a", b"c"})
    assert rates.take(b"c", 1) == 0
    assert rates.take(b"a", BURST_SECONDS) == 0, "forgotten"
    assert rates.take(b"b", 1) > 0, "remembered"


def test_what_is_given_back_can_be_taken_again() -> None:
    rates = limits(1.0, Clock())
    assert rates.take(KEY, BURST_SECONDS) == 0
    rates.give_back(KEY, BURST_SECONDS)
    assert rates.take(KEY, BURST_SECONDS) == 0


@given(
    rate=st.floats(0.1, 100),
    requests=st.lists(st.tuples(st.floats(0, 30), st.integers(1, 500)), min_size=1, max_size=50),
)
def test_nobody_gets_more_than_the_burst_the_rate_and_one_request(
    rate: float, requests: list[tuple[float, int]]
) -> None:
    clock = Clock()
    rates = limits(rate, clock)
    granted = 0
    for pause, texts in requests:
        clock.now += pause
        wait = rates.take(KEY, texts)
        granted += texts if wait == 0 else 0
        largest = max(texts for _, texts in requests)
        assert granted <= max(rate * BURST_SECONDS, 1) + rate * clock.now + largest + 1e-6


def post(client: TestClient[Litestar], key: str, inputs: list[str], path: str = "/embed") -> Response:
    body: dict[str, Any] = {"inputs": inputs, "input": inputs}
    return client.post(path, json=body, headers={"authorization": f"Bearer {key}"})


@pytest.fixture
def limited(settings: ServerSettings, tmp_path: Path) -> ServerSettings:
    (tmp_path / "keys").write_text("first\nsecond\n")
    return settings.model_copy(update={"api_keys": tmp_path / "keys", "rate_limit": 0.2})


def test_a_key_over_its_rate_gets_a_429_and_others_go_on(limited: ServerSettings) -> None:
    with TestClient(create_app(limited)) as client:
        assert post(client, "first", ["cat"] * 65).status_code == 422, "too many texts are not charged"
        assert post(client, "first", ["cat", "dog"]).status_code == 200
        refused = post(client, "first", ["cat"])
        assert (refused.status_code, refused.json()["error_type"]) == (429, "Overloaded")
        assert 1 <= int(refused.headers["retry-after"]) <= 5
        assert post(client, "first", ["cat"], "/v1/embeddings").json()["error"]["type"] == "rate_limit_error"
        assert post(client, "first", ["cat"], "/tokenize").status_code == 200
        assert post(client, "second", ["cat"]).status_code == 200
        counted = samples(client)
    assert counted["disco_refused_requests_total[('model', 'tiny'), ('reason', 'rate')]"] == 2


def test_texts_that_the_queue_has_no_room_for_are_not_charged(limited: ServerSettings) -> None:
    full = limited.model_copy(update={"max_queue_items": 1, "rate_limit": 0.1})
    with TestClient(create_app(full)) as client:
        runtime = client.app.state.runtime
        queue = runtime.model().queue
        queue.reserve(1)
        assert post(client, "first", ["cat"]).status_code == 429
        queue.release(1)
        assert post(client, "first", ["cat"]).status_code == 200
