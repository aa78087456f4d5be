"""What a run leaves behind: one row per request, in columns. Owns which requests count; knows no units but seconds."""

import math
from array import array
from collections import Counter
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

OK = "ok"
"""The outcome of a request that got a valid answer; any other outcome names the kind of failure."""

Ending: TypeAlias = Literal["complete", "interrupted", "too many errors", "too many requests"]
Seconds: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Measurement:
    """The requests that were due inside the measured window, n of them, in no particular order."""

    seconds: float
    """Length of the measured window."""
    due: Seconds
    """float64[n]: the intended send times, after the start of the window."""
    latencies: Seconds
    """float64[n]: from the intended send time to the answer or the failure."""
    lags: Seconds
    """float64[n]: actual minus intended send time, which is this generator's own fault."""
    outcomes: list[str]
    """`OK` or the kind of failure, n of them."""
    answered_at: Seconds
    """When valid answers arrived inside the window, after its start, whenever they had been due: the throughput."""
    texts_answered: int
    """Texts of those answers."""
    unfinished: int
    """Requests still without an answer when the run was ended early; they are in none of the other figures."""
    cpu_share: float
    """Processor seconds of this process per second of the run: 1 is a whole core."""
    cpu_per_request: float
    """Processor seconds of this process per request that it sent, warm-up included."""
    ending: Ending

    @property
    def answered(self) -> int:
        """Valid answers that arrived inside the window."""
        return len(self.answered_at)

    @property
    def succeeded(self) -> NDArray[np.bool_]:
        """bool[n]: which requests got a valid answer."""
        return np.array([outcome == OK for outcome in self.outcomes], dtype=np.bool_)

    @property
    def errors(self) -> dict[str, int]:
        """How often each kind of failure happened, the most frequent first."""
        counts = Counter(outcome for outcome in self.outcomes if outcome != OK)
        return dict(counts.most_common())


class Recorder:
    """Collects the rows while the run lasts: 40 bytes or so each, so a million requests are no burden."""

    def __init__(self) -> None:
        self._due = array("d")
        self._lags = array("d")
        self._latencies = array("d")
        self._texts = array("l")
        self._outcomes: list[str] = []

    def add(self, *, due: float, lag: float, latency: float, texts: int, outcome: str) -> None:
        """Record a finished request of so many texts; times in seconds, `due` after the start of the run."""
        self._due.append(due)
        self._lags.append(lag)
        self._latencies.append(latency)
        self._texts.append(texts)
        self._outcomes.append(outcome)

    def measurement(
        self, *, start: float, end: float, unfinished: int, cpu_share: float, cpu_per_request: float, ending: Ending
    ) -> Measurement:
        """Keep the requests due in [`start`, `end`): what came before was warm-up."""
        due, latencies = np.array(self._due), np.array(self._latencies)
        succeeded = np.array([outcome == OK for outcome in self._outcomes], dtype=np.bool_)
        answered_at = due + latencies
        answered = np.flatnonzero(succeeded & (answered_at >= start) & (answered_at < end))
        inside = np.flatnonzero((due >= start) & (due < end))
        return Measurement(
            seconds=max(end - start, 0.0),
            due=due[inside] - start,
            latencies=latencies[inside],
            lags=np.array(self._lags)[inside],
            outcomes=[self._outcomes[row] for row in inside],
            answered_at=np.sort(answered_at[answered] - start),
            texts_answered=int(np.array(self._texts, dtype=np.int64)[answered].sum()),
            unfinished=unfinished,
            cpu_share=cpu_share,
            cpu_per_request=cpu_per_request,
            ending=ending,
        )


def percentile(ascending: Seconds, rank: float) -> float:
    """The smallest of the sorted values that at least `rank` percent of them do not exceed (nothing is interpolated).

    Raises:
        ValueError: there are no values.
    """
    if not len(ascending):
        raise ValueError("no values have no percentile")
    # 99.9 % of 1,000 must be 999 although the product in floating point is a hair more.
    position = math.ceil(len(ascending) * rank / 100 - 1e-9)
    return float(ascending[max(position, 1) - 1])
