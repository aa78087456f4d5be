"""How fast the workers get on, so that a wait can be told beforehand. Knows neither queue nor engine."""

# Of what was measured before, so much still counts after another batch.
KEPT = 0.9


class Pace:
    """What the last ten batches or so were like; large ones count for more, as they do in a long queue."""

    def __init__(self) -> None:
        self._texts = 0.0
        self._tokens = 0.0
        self._seconds = 0.0

    def note(self, texts: int, tokens: int, seconds: float) -> None:
        """A worker took `seconds` for a batch of `texts` ≥ 1 texts with `tokens` ≥ 1 tokens."""
        self._texts = KEPT * self._texts + texts
        self._tokens = KEPT * self._tokens + tokens
        self._seconds = KEPT * self._seconds + seconds

    def tokens(self, texts: int) -> float:
        """How many tokens so many texts probably have; 0 while nothing has been measured."""
        return texts * self._tokens / self._texts if self._texts else 0.0

    def seconds(self, tokens: float, *, workers: int) -> float:
        """How long so many workers need for `tokens`; 0 while nothing has been measured."""
        return tokens * self._seconds / self._tokens / max(workers, 1) if self._tokens else 0.0
