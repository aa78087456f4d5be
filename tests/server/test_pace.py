import pytest

from server.pace import Pace


def test_nothing_measured_means_no_wait() -> None:
    assert Pace().seconds(1000, workers=2) == 0
    assert Pace().tokens(1000) == 0


def test_workers_share_what_waits() -> None:
    pace = Pace()
    pace.note(5, 100, 1.0)
    assert pace.seconds(50, workers=1) == pytest.approx(0.5)
    assert pace.seconds(50, workers=2) == pytest.approx(0.25)


def test_texts_are_taken_for_as_long_as_those_before() -> None:
    pace = Pace()
    pace.note(5, 100, 1.0)
    assert pace.tokens(3) == pytest.approx(60)


def test_a_large_batch_tells_more_than_small_ones_which_cost_more_per_token() -> None:
    pace = Pace()
    for _ in range(50):
        pace.note(1, 10, 0.1)
    assert pace.seconds(1, workers=1) == pytest.approx(0.01)
    pace.note(100, 1000, 1.0)
    assert pace.seconds(1, workers=1) < 0.002


def test_what_is_long_ago_is_forgotten() -> None:
    pace = Pace()
    pace.note(10, 100, 10.0)
    for _ in range(100):
        pace.note(10, 100, 1.0)
    assert pace.seconds(100, workers=1) == pytest.approx(1.0, rel=0.01)
