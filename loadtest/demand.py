"""How many requests per second are wanted when: steady, in steps or on a ramp. Knows no single request."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Shape: TypeAlias = Literal["steady", "step", "ramp"]
_RAMP_PIECES = 1_000  # straight pieces of a curve; what they cut off is less than a thousandth of a request apart


@dataclass(frozen=True)
class Demand:
    """The number of requests due by a time, linear between the given points."""

    times: NDArray[np.float64]
    """float64[n], ascending: seconds after the start."""
    due: NDArray[np.float64]
    """float64[n], ascending from 0: requests due by then."""

    @property
    def seconds(self) -> float:
        """When it ends."""
        return float(self.times[-1])

    @property
    def total(self) -> float:
        """Requests due in all."""
        return float(self.due[-1])

    def when(self, due: NDArray[np.float64]) -> NDArray[np.float64]:
        """The times by which so many requests are due, each before the end."""
        return np.minimum(np.interp(due, self.due, self.times), np.nextafter(self.seconds, 0))


def steady(rate: float, seconds: float) -> Demand:
    """The same rate, in requests per second, all the time."""
    return _pieces(np.array([rate]), np.array([seconds]))


def step(low: float, high: float, *, steps: int, warmup: float, seconds: float) -> Demand:
    """From `low` to `high` in `steps` levels of the same length, the first and the last included."""
    return _pieces(
        np.concatenate([[low], np.linspace(low, high, steps)]),
        np.concatenate([[warmup], np.full(steps, seconds / steps)]),
    )


def ramp(low: float, high: float, *, warmup: float, seconds: float) -> Demand:
    """At `low` while warming up, then evenly up to `high`."""
    middles = (np.arange(_RAMP_PIECES) + 0.5) / _RAMP_PIECES
    return _pieces(
        np.concatenate([[low], low + (high - low) * middles]),
        np.concatenate([[warmup], np.full(_RAMP_PIECES, seconds / _RAMP_PIECES)]),
    )


def _pieces(rates: NDArray[np.float64], lengths: NDArray[np.float64]) -> Demand:
    return Demand(
        times=np.concatenate([[0.0], np.cumsum(lengths)]),
        due=np.concatenate([[0.0], np.cumsum(rates * lengths)]),
    )
