"""Which texts make up which step: shuffled, but with texts of like length together so that little is padded.

The order is a pure function of seed and epoch, which is what makes a resumed run equal an undisturbed one.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Texts are sorted by length only inside a window of so many batches: enough to avoid padding, little enough to
# leave the company a text keeps to chance.
_WINDOW_BATCHES = 64

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Position:
    """How far a stage has come: the next batch is number `batch` of epoch `epoch`."""

    epoch: int = 0
    batch: int = 0
    examples: int = 0


def epoch_batches(lengths: NDArray[np.int64], *, seed: int, epoch: int, size: int, tokens: int) -> list[Rows]:
    """Split all rows into batches of at most `size` rows and `tokens` padded tokens (one row at least).

    `lengths` is int64[n]; every row is in exactly one batch.
    """
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(lengths))
    window = _WINDOW_BATCHES * size
    batches: list[Rows] = []
    for start in range(0, len(order), window):
        rows = order[start : start + window]
        batches += _split(rows[np.argsort(lengths[rows], kind="stable")], lengths, size, tokens)
    return [batches[i] for i in random.permutation(len(batches))]


def training_batches(
    lengths: NDArray[np.int64], *, seed: int, size: int, tokens: int, examples: int, start: Position
) -> Iterator[tuple[Rows, Position]]:
    """Batches from `start` until `examples` rows were seen, each with the position after it."""
    position = start
    while position.examples < examples:
        batches = epoch_batches(lengths, seed=seed, epoch=position.epoch, size=size, tokens=tokens)
        for number in range(position.batch, len(batches)):
            rows = batches[number]
            is_last = number + 1 == len(batches)
            position = Position(
                epoch=position.epoch + is_last,
                batch=0 if is_last else number + 1,
                examples=position.examples + len(rows),
            )
            yield rows, position
            if position.examples >= examples:
                return


def _split(rows: Rows, lengths: NDArray[np.int64], size: int, tokens: int) -> Iterator[Rows]:
    start = 0
    for end in range(1, len(rows) + 1):
        # Rows come sorted, so the longest of a batch is its last.
        full = end - start == size
        if end == len(rows) or full or (end - start + 1) * lengths[rows[end]] > tokens:
            yield rows[start:end]
            start = end
