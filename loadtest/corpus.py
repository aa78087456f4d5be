"""The texts that are sent: generated ones that look like English, or the user's own. Knows no HTTP."""

from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import BinaryIO

import numpy as np

from loadtest.lengths import Lengths

MOST_TEXTS = 20_000
"""Enough to keep a server that remembers recent texts from looking faster than it is, few enough to prepare at once."""

# Frequent words first: they are drawn by Zipf's law.
_VOCABULARY = """
the of and to a in is that for it on with as was are by this be from at or an have not which you we they their has more
can one all other when there been will would about who if out up so what time people some new only these two may first
then do any like my now over such our even most made after also many through before must years where much your way well
down should because each just those between own good long day still under last might great year back never same another
while life work part place world house made small again small water hand school system during without however home
number night point high every found general right state money against large group social order national fact public
course office different week city power set light business company present best name early case country problem face
history given road study family member result change morning reason research girl level doctor moment field music food
market health question idea community evidence service century report process river book woman child teacher mountain
language price garden window minister software engine signal station winter season village paper memory island weather
energy theory method science pressure surface machine battery network customer delivery recipe kitchen traffic museum
"""
_WORDS = _VOCABULARY.split()
_MEDIAN_WORDS = 14
_SPREAD = 0.9  # of the logarithm of the length: one text in a hundred is eight times as long as the median
_LONGEST = 250
_SENTENCE_WORDS = 14
_QUERY_WORDS = 6  # texts of so few words look like search queries: no capitals, no full stop


class CorpusError(Exception):
    """The user's file has no usable texts."""


def generate_texts(count: int, *, seed: int, histogram: Lengths | None = None) -> list[str]:
    """Make `count` texts, the same for the same seed.

    Their lengths follow `histogram`; without one they are log-normal, from short queries to paragraphs.
    """
    generator = np.random.default_rng(seed)
    if histogram is None:
        lengths = np.clip(generator.lognormal(np.log(_MEDIAN_WORDS), _SPREAD, count).round(), 1, _LONGEST).astype(int)
    else:
        lengths = histogram.draw(count, generator)
    weights = 1 / np.arange(3, len(_WORDS) + 3)
    drawn = iter(generator.choice(_WORDS, size=int(lengths.sum()), p=weights / weights.sum()).tolist())
    return [_compose(list(islice(drawn, length))) for length in lengths]


def read_texts(path: Path, *, seed: int) -> list[str]:
    """The lines of a UTF-8 file that are not blank, at most `MOST_TEXTS` of them, shuffled.

    Raises:
        CorpusError: the file cannot be read or has no text; the message names the file and the line, never a text.
    """
    try:
        with path.open("rb") as file:
            texts = list(islice(_lines(file, path), MOST_TEXTS))
    except OSError as error:
        raise CorpusError(f"{path}: {error.strerror}") from error
    if not texts:
        raise CorpusError(f"{path} has no texts; write one a line")
    order = np.random.default_rng(seed).permutation(len(texts))
    return [texts[i] for i in order]


def split_into_requests(texts: Sequence[str], size: int) -> list[list[str]]:
    """Deal the texts out into lists of `size`, using each about once; too few texts are repeated."""
    return deal(texts, [size] * max(1, len(texts) // size))


def deal(texts: Sequence[str], sizes: Sequence[int]) -> list[list[str]]:
    """Deal the texts out in their order into lists of these sizes, beginning again when they are used up."""
    supply = cycle(texts)
    return [list(islice(supply, size)) for size in sizes]


def _compose(words: list[str]) -> str:
    if len(words) <= _QUERY_WORDS:
        return " ".join(words)
    starts = range(0, len(words), _SENTENCE_WORDS)
    return " ".join(" ".join(words[start : start + _SENTENCE_WORDS]).capitalize() + "." for start in starts)


def _lines(file: BinaryIO, path: Path) -> Iterator[str]:
    for number, line in enumerate(file, start=1):
        try:
            text = line.decode().strip()
        except UnicodeDecodeError as error:
            # Without the cause, which would carry the text.
            raise CorpusError(f"{path}, line {number}: byte {error.start} of the line is not UTF-8") from None
        if text:
            yield text
