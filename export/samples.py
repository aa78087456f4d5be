"""The texts a graph is calibrated and compared on, always the same: short, long, odd, and of every length."""

from itertools import accumulate, cycle, islice, takewhile
from pathlib import Path

import numpy as np

from bundle.text import TextEncoder

RUNGS = 40


def sentences() -> list[str]:
    """Sentences of `samples.txt`: prose, questions, code, numbers, other languages, single words."""
    return Path(__file__).with_name("samples.txt").read_text(encoding="utf-8").splitlines()


def ladder(encoder: TextEncoder) -> list[str]:
    """Texts whose token counts climb from the least to what `encoder` takes at most, and one far beyond.

    Each starts at another word. Special tokens and a prompt come on top, so the last rungs are truncated.
    """
    words = " ".join(sentences()).split()
    lengths = [len(ids) for ids in encoder.encode(words)]
    costs = [length - min(lengths) + 1 for length in lengths]  # without special tokens and prompt
    texts = []
    for rung, target in enumerate(np.linspace(1, encoder.max_length, RUNGS)):
        start = rung * len(words) // RUNGS
        texts.append(_words(words, start, max(1, _affordable(costs, start, target))))
    return [*texts, _words(words, 0, 2 * encoder.max_length)]


def _affordable(costs: list[int], start: int, budget: float) -> int:
    totals = accumulate(islice(cycle(costs), start, None))
    return sum(1 for _ in takewhile(lambda total: total <= budget, totals))


def _words(words: list[str], start: int, count: int) -> str:
    return " ".join(islice(cycle(words), start, start + count))
