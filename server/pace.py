"""How fast the workers get on, so that a wait can be told beforehand. Knows neither queue nor engine."""

# Of what was measured before, so much still counts after another batch.
KEPT = 0.9


class Pace:
    """Seconds per token over the last ten batches or so; large ones count for more, as they do in a queue."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._tokens = 0.0

    def note(self, tokens: int, seconds: float) -> None:
        """A worker took `seconds` for a batch of `tokens` ≥ 1 tokens."""
        self._seconds = KEPT * self._seconds + seconds
        self._tokens = KEPT * self._tokens + tokens

    def seconds(self, tokens: int, *, workers: int) -> float:
        """How long so many workers need for `tokens`; 0 while nothing has been measured."""
        return tokens * self._seconds / self._tokens / max(workers, 1) if self._tokens else 0.0
