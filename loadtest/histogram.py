"""Latencies in buckets that grow by a constant factor, so that runs can be added up. Knows no report.

Percentiles of several runs cannot be computed from the percentiles of each; from added-up counts they can, to within
a bucket's width. HdrHistogram does the same with other bounds.
"""

import math
from collections import Counter
from collections.abc import Iterable
from typing import Self

import msgspec
import numpy as np

from loadtest.measurement import Seconds

LOWEST_MS = 0.001
GROWTH = 1.01
"""A bucket's upper bound is one percent above its lower one; the whole day needs fewer than 2,500 of them."""


class Histogram(msgspec.Struct, frozen=True):
    """Bucket number n holds latencies from just above `lowest_ms` × `growth`^(n-1) up to `lowest_ms` × `growth`^n."""

    counts: dict[int, int]
    """Bucket number → how many; ascending, empty buckets are left out. Number 0 holds all up to `lowest_ms`."""
    lowest_ms: float = LOWEST_MS
    growth: float = GROWTH

    @classmethod
    def of(cls, latencies: Seconds) -> Self:
        """Count latencies in seconds."""
        floor = np.maximum(latencies * 1e3, LOWEST_MS)
        # A latency on a bound belongs below it, whatever the logarithm's last digit says.
        numbers = np.ceil(np.log(floor / LOWEST_MS) / math.log(GROWTH) - 1e-9).astype(int)
        return cls(dict(zip(*(column.tolist() for column in np.unique(numbers, return_counts=True)), strict=True)))

    @property
    def total(self) -> int:
        """How many latencies it holds."""
        return sum(self.counts.values())

    def percentile(self, rank: float) -> float:
        """The upper bound, in milliseconds, of the bucket that the percentile is in.

        Raises:
            ValueError: it is empty.
        """
        if not self.counts:
            raise ValueError("no values have no percentile")
        position = max(math.ceil(self.total * rank / 100 - 1e-9), 1)
        below = 0
        for number in sorted(self.counts):
            below += self.counts[number]
            if below >= position:
                break
        return self.lowest_ms * self.growth**number


def merge(histograms: Iterable[Histogram]) -> Histogram:
    """Add histograms up.

    Raises:
        ValueError: their buckets are not the same.
    """
    counts: Counter[int] = Counter()
    for histogram in histograms:
        if (histogram.lowest_ms, histogram.growth) != (LOWEST_MS, GROWTH):
            raise ValueError(
                f"buckets from {histogram.lowest_ms:g} ms growing by {histogram.growth:g} cannot be added to those "
                f"from {LOWEST_MS:g} ms growing by {GROWTH:g}"
            )
        counts.update(histogram.counts)
    return Histogram(dict(sorted(counts.items())))
