"""What a run has done so far, for whoever watches it. Knows neither times nor answers."""

from dataclasses import dataclass


@dataclass
class Tally:
    """Numbers of requests, growing while the run lasts."""

    sent: int = 0
    finished: int = 0
    failed: int = 0
    """Those of the finished ones that got no valid answer."""

    @property
    def under_way(self) -> int:
        """Sent and not finished; what grows here is what the server cannot keep up with."""
        return self.sent - self.finished

    def reset(self) -> None:
        """Begin again."""
        self.sent = self.finished = self.failed = 0
