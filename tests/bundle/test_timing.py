from collections.abc import Sequence

import numpy as np
import pytest

from bundle.arrays import Ids, Offsets, Vectors
from bundle.timing import LOADS as ALL_LOADS
from bundle.timing import Contender, Load, loads_within, ratio, time_in_turns

LOADS = {"one": Load(texts=1, tokens=4, runs=3), "batch": Load(texts=2, tokens=4, runs=2)}


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class FakeEncoder:
    """Takes `price` seconds a token on a clock that only it moves; remembers every batch it was given."""

    dimension = 1
    description = "fake"

    def __init__(self, name: str, clock: Clock, price: float, journal: list[str]) -> None:
        self.name, self.clock, self.price, self.journal = name, clock, price, journal
        self.batches: list[tuple[list[int], list[int]]] = []

    def encode(self, ids: Ids, offsets: Offsets) -> Vectors:
        self.journal.append(self.name)
        self.batches.append((ids.tolist(), offsets.tolist()))
        self.clock.now += self.price * len(ids)
        return np.zeros((len(offsets) - 1, 1), dtype=np.float32)

    def cost(self, lengths: Sequence[int]) -> int:
        return sum(lengths)


@pytest.fixture
def journal() -> list[str]:
    return []


@pytest.fixture
def contenders(journal: list[str]) -> tuple[dict[str, Contender], Clock]:
    clock = Clock()
    ids = np.arange(100, 110, dtype=np.int32)
    prices = {"slow": 2.0, "fast": 0.5}
    return {name: Contender(FakeEncoder(name, clock, price, journal), ids) for name, price in prices.items()}, clock


def test_every_round_times_every_contender(contenders: tuple[dict[str, Contender], Clock], journal: list[str]) -> None:
    time_in_turns(contenders[0], LOADS, rounds=4, clock=contenders[1])
    a_turn = 3 + 2
    assert journal == (["slow"] * a_turn + ["fast"] * a_turn) * 5, "four rounds, and one to warm up"


def test_what_is_timed_is_the_encoding(contenders: tuple[dict[str, Contender], Clock]) -> None:
    seconds = time_in_turns(contenders[0], LOADS, rounds=4, clock=contenders[1])
    assert seconds["slow"]["one"].shape == (4, 3)
    assert seconds["slow"]["batch"].shape == (4, 2)
    assert np.all(seconds["slow"]["one"] == 8)
    assert np.all(seconds["fast"]["batch"] == 4)


def test_a_batch_has_its_shape_and_is_another_one_each_run(
    contenders: tuple[dict[str, Contender], Clock],
) -> None:
    time_in_turns(contenders[0], LOADS, rounds=1, clock=contenders[1])
    encoder = contenders[0]["fast"].encoder
    assert isinstance(encoder, FakeEncoder)
    assert encoder.batches[:5] == [
        ([100, 101, 102, 103], [0, 4]),
        ([104, 105, 106, 107], [0, 4]),
        ([108, 109, 100, 101], [0, 4]),
        ([100, 101, 102, 103, 104, 105, 106, 107], [0, 4, 8]),
        ([108, 109, 100, 101, 102, 103, 104, 105], [0, 4, 8]),
    ]


def test_a_slow_round_does_not_change_a_ratio() -> None:
    reference = np.full((5, 4), 2.0)
    rung = np.full((5, 4), 3.0)
    noise = np.array([1.0, 10.0, 1.0, 7.0, 1.0])[:, None]
    assert ratio(rung * noise, reference * noise) == pytest.approx(1.5)
    spike = rung.copy()
    spike[0, 0] = 1000
    assert ratio(spike, reference) == pytest.approx(1.5)


def test_no_text_is_longer_than_the_model_takes() -> None:
    assert {name: load.tokens for name, load in loads_within(64).items()} == {"latency": 16, "short": 16, "long": 64}
    assert loads_within(512) == ALL_LOADS
