"""How a run went over time: its window cut into equal intervals. Owns their length; draws nothing."""

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadtest.measurement import Measurement, Seconds, percentile

MOST_INTERVALS = 60
_LENGTHS = [digit * 10.0**power for power in range(-1, 5) for digit in (1, 2, 5)]  # seconds, for round axes


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of the measured window. Latencies are of the requests due in it, in milliseconds, None without any."""

    start: float
    """Seconds after the window's start."""
    seconds: float
    due: int
    failed: int
    """Of those due in it."""
    answered: int
    """Valid answers that arrived in it, whenever they had been due."""
    p50: float | None
    p99: float | None
    max: float | None


def make_timeline(measurement: Measurement) -> list[Interval]:
    """Cut a run into at most `MOST_INTERVALS` intervals; the last one may be shorter."""
    length = next((length for length in _LENGTHS if measurement.seconds / length <= MOST_INTERVALS), _LENGTHS[-1])
    number = math.ceil(measurement.seconds / length - 1e-9)

    def rows(times: Seconds) -> NDArray[np.int64]:
        # A time on a bound begins the next interval, whatever its last digit says.
        return np.minimum((times / length + 1e-9).astype(np.int64), number - 1)

    row_of = rows(measurement.due)
    answers = np.bincount(rows(measurement.answered_at), minlength=number)
    succeeded = measurement.succeeded
    return [
        _interval(
            measurement.latencies[(row_of == row) & succeeded],
            start=row * length,
            seconds=min(length, measurement.seconds - row * length),
            due=int((row_of == row).sum()),
            failed=int(((row_of == row) & ~succeeded).sum()),
            answered=int(answers[row]),
        )
        for row in range(number)
    ]


def _interval(
    latencies: NDArray[np.float64], *, start: float, seconds: float, due: int, failed: int, answered: int
) -> Interval:
    ascending = np.sort(latencies) * 1e3
    return Interval(
        start=start,
        seconds=seconds,
        due=due,
        failed=failed,
        answered=answered,
        p50=percentile(ascending, 50) if len(ascending) else None,
        p99=percentile(ascending, 99) if len(ascending) else None,
        max=float(ascending[-1]) if len(ascending) else None,
    )
