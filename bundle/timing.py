"""How long encoders take, measured in turns: every round times all of them, so that noise hits all alike.

Knows the `Encoder` contract; knows no bundle, no text and no quality.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bundle.arrays import Ids
from bundle.runtime import Encoder

ROUNDS = 15


@dataclass(frozen=True)
class Load:
    """A batch of `texts` texts of `tokens` tokens each, encoded `runs` times a round."""

    texts: int
    tokens: int
    runs: int


LATENCY = Load(texts=1, tokens=16, runs=50)
SHORT = Load(texts=32, tokens=16, runs=5)
LONG = Load(texts=16, tokens=180, runs=1)
LOADS = {"latency": LATENCY, "short": SHORT, "long": LONG}


def loads_within(max_length: int) -> dict[str, Load]:
    """`LOADS` for a model that takes no more than `max_length` tokens a text."""
    return {name: replace(load, tokens=min(load.tokens, max_length)) for name, load in LOADS.items()}


@dataclass(frozen=True)
class Contender:
    """An encoder and real token ids to feed it with, int32[at least one text of each load]."""

    encoder: Encoder
    ids: Ids


Seconds = dict[str, dict[str, NDArray[np.float64]]]
"""By contender and load: float64[rounds, runs] of one batch each."""


def time_in_turns(
    contenders: Mapping[str, Contender],
    loads: Mapping[str, Load] = LOADS,
    *,
    rounds: int = ROUNDS,
    clock: Callable[[], float] = time.perf_counter,
) -> Seconds:
    """Time every load on every contender, round by round; a first round, not counted, warms all up."""
    seconds: Seconds = {name: {load: np.empty((rounds, loads[load].runs)) for load in loads} for name in contenders}
    for turn in range(-1, rounds):
        for name, contender in contenders.items():
            for load, shape in loads.items():
                durations = [_time_one(contender, shape, run, clock) for run in range(shape.runs)]
                if turn >= 0:
                    seconds[name][load][turn] = durations
    return seconds


def ratio(rung: NDArray[np.float64], reference: NDArray[np.float64], *, quantile: float = 0.5) -> float:
    """How many times longer `rung` takes, float64[rounds, runs] both.

    The median over rounds of the ratio of the round's medians: what slows a whole round cancels out. Another `quantile`
    tells how sure that is.
    """
    return float(np.quantile(np.median(rung, axis=1) / np.median(reference, axis=1), quantile))


def tokens_per_second(load: Load, seconds: NDArray[np.float64]) -> float:
    """What the median of the times `seconds` of `load`, float64 of any shape, comes to."""
    return load.texts * load.tokens / float(np.median(seconds))


def _time_one(contender: Contender, load: Load, run: int, clock: Callable[[], float]) -> float:
    size = load.texts * load.tokens
    # Other texts every time: a static table is as fast as the cache finds its rows.
    ids = np.take(contender.ids, np.arange(run * size, (run + 1) * size), mode="wrap")
    offsets = np.arange(load.texts + 1, dtype=np.int32) * np.int32(load.tokens)
    start = clock()
    contender.encoder.encode(ids, offsets)
    return clock() - start
