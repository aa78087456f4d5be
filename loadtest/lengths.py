"""How long texts are: a histogram from a file. Knows no texts."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MOST_WORDS = 10_000


class LengthsError(Exception):
    """The user's file is no histogram of lengths."""


@dataclass(frozen=True)
class Lengths:
    """A histogram: how often texts of so many words come."""

    words: NDArray[np.int64]
    shares: NDArray[np.float64]
    """Of the same length; their sum is 1."""

    def draw(self, count: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """So many lengths, in words."""
        return generator.choice(self.words, size=count, p=self.shares)


def read_lengths(path: Path) -> Lengths:
    """Read lines of `WORDS COUNT`, parted by blanks or a comma; `#` begins a comment.

    Raises:
        LengthsError: the file cannot be read or has anything else in it; the message names the file and the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise LengthsError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise LengthsError(f"{path}: byte {error.start} is not UTF-8") from None
    rows = []
    for number, line in enumerate(lines, start=1):
        if content := line.partition("#")[0].strip():
            try:
                rows.append(_row(content))
            except ValueError:
                # Not shown: whoever confuses the files gives one with texts in it.
                raise LengthsError(
                    f"{path}, line {number}: not a number of words (1 to {MOST_WORDS:,}) and how often they come, "
                    "e.g. `12 340`"
                ) from None
    counts = np.array([count for _, count in rows])
    if not counts.sum() > 0:
        raise LengthsError(f"{path} has no lengths; write lines of words and how often, e.g. `12 340`")
    return Lengths(np.array([words for words, _ in rows]), counts / counts.sum())


def _row(content: str) -> tuple[int, float]:
    words, count = content.replace(",", " ").split()
    row = int(words), float(count)
    if not (1 <= row[0] <= MOST_WORDS and 0 <= row[1] < math.inf):
        raise ValueError
    return row
