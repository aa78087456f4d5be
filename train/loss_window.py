"""Mean loss, terms and speed over some steps of a stage. Knows neither models nor where it is told."""

import time
from collections.abc import Mapping

from torch import Tensor

from train.checkpoint import HistoryEntry


class LossWindow:
    """Some steps of a stage."""

    def __init__(self) -> None:
        self.steps = 0
        """How many there were."""
        self._sum = 0.0
        self._terms: dict[str, Tensor] = {}
        self._examples = 0
        self._started = time.monotonic()

    def add(self, loss: float, terms: Mapping[str, Tensor], examples: int) -> None:
        """A step over so many examples had this loss, made of these terms: float[] each, without gradient."""
        self.steps += 1
        self._sum += loss * examples
        for name, term in terms.items():
            self._terms[name] = self._terms.get(name, 0) + term * examples
        self._examples += examples

    @property
    def mean(self) -> float:
        """The loss, by example."""
        return self._sum / max(self._examples, 1)

    def summary(self) -> HistoryEntry:
        """What a history tells of them."""
        seconds = time.monotonic() - self._started
        speed = self._examples / max(seconds, 1e-9)
        terms = {name: float(total) / self._examples for name, total in self._terms.items()}
        return {"loss": self.mean, "terms": terms, "examples_per_second": speed}
