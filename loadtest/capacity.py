"""The search for the highest rate that holds: bracketing, then bisection. Knows neither servers nor objectives."""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

MOST_STEPS = 30
"""Enough for any start and resolution that the settings allow; no search goes on longer, whatever the server does."""
LEAST_REQUESTS = 10.0
"""A rate that sends fewer than that in a step says nothing about percentiles."""

Finding: TypeAlias = Literal["found", "no rate holds", "the highest rate that can be sent holds", "out of steps"]


@dataclass
class Search:
    """Doubles or halves the rate until it is bracketed, then tries the geometric middle until that is close enough."""

    first: float
    """Requests per second, as all rates here."""
    lowest: float
    highest: float
    resolution: float
    """The search ends when the lowest rate that failed is at most this share above the highest that held."""
    held: float | None = None
    failed: float | None = None
    steps: int = 0

    def next_rate(self) -> float | None:
        """The rate to try next; None when the search is over."""
        if self.finding is not None:
            return None
        if self.held is None and self.failed is None:
            return min(self.first, self.highest)
        if self.failed is None:
            assert self.held is not None
            return min(2 * self.held, self.highest)
        if self.held is None:
            return max(self.failed / 2, self.lowest)
        return math.sqrt(self.held * self.failed)

    def note(self, rate: float, *, holds: bool) -> None:
        """Record what came of a rate."""
        self.steps += 1
        if holds:
            self.held = rate
        else:
            self.failed = rate

    @property
    def finding(self) -> Finding | None:
        """What the search has come to; None while it goes on."""
        if self.held is not None and self.failed is not None and self.failed <= self.held * (1 + self.resolution):
            return "found"
        if self.held is not None and self.held >= self.highest:
            return "the highest rate that can be sent holds"
        if self.failed is not None and self.failed <= self.lowest:
            return "no rate holds"
        return "out of steps" if self.steps >= MOST_STEPS else None
