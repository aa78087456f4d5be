"""Weighted choices such as `1:0.9,32:0.1`. Knows not what is chosen between."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

T = TypeVar("T")

LEAST_SHARE = 0.001
"""Of all; what is rarer than one in a thousand would not be seen in most runs."""


@dataclass(frozen=True)
class Mix(Generic[T]):
    """Alternatives and their shares, which sum to 1."""

    choices: Sequence[T]
    shares: Sequence[float]

    @property
    def least_draws(self) -> int:
        """How many draws it takes until every alternative is among them."""
        return 1 if len(self.choices) == 1 else math.ceil(1 / min(self.shares))

    def draw(self, count: int, generator: np.random.Generator) -> list[T]:
        """So many choices in random order, each as often as its share says, give or take one."""
        # Evenly spaced points pick from the stacked shares: random ones would leave rare choices to luck.
        points = (np.arange(count) + 0.5) / count
        picked = np.minimum(np.searchsorted(np.cumsum(self.shares), points), len(self.choices) - 1)
        return [self.choices[i] for i in generator.permutation(picked)]


def parse_mix(text: str, parse: Callable[[str], T]) -> Mix[T]:
    """Read `CHOICE[:WEIGHT],…`, e.g. `1`, `embed:3,similarity:1` or `1:0.9,32:0.1`; a weight left out is 1.

    Raises:
        ValueError: the message tells the offending part and the fix; `parse` raises its own.
    """
    parts = [part.strip().partition(":") for part in text.split(",")]
    choices = [parse(choice) for choice, _, _ in parts]
    for choice, _, _ in parts:
        if [name for name, _, _ in parts].count(choice) > 1:
            raise ValueError(f"{choice!r} is given twice in {text!r}: add up its weights")
    weights = [_weight(weight if colon else "1", choice) for choice, colon, weight in parts]
    shares = [weight / sum(weights) for weight in weights]
    if min(shares) < LEAST_SHARE:
        rare = parts[shares.index(min(shares))][0]
        raise ValueError(f"{rare!r} is less than a thousandth of {text!r}: raise its weight or leave it out")
    return Mix(choices, shares)


def _weight(text: str, choice: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 < weight < math.inf:
        raise ValueError(f"the weight {text!r} of {choice!r} is not a positive number; write e.g. {choice}:0.5")
    return weight
