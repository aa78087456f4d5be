"""How long to wait before trying again what has failed. Knows not what."""

import asyncio
from contextlib import suppress

FIRST_BACKOFF = 0.1
LONGEST_BACKOFF = 10.0


class Backoff:
    """Waits in seconds, each twice as long as the one before it, up to `LONGEST_BACKOFF`."""

    def __init__(self, first: float = FIRST_BACKOFF) -> None:
        self._first = first
        self.seconds = first
        """Of the next wait."""

    def start_over(self) -> None:
        """It works again: should it fail once more, that is a new failure."""
        self.seconds = self._first

    async def wait(self, closing: asyncio.Event) -> None:
        """Wait, unless nothing is to be tried any more, in which case no longer."""
        with suppress(TimeoutError):
            await asyncio.wait_for(closing.wait(), self.seconds)
        self.seconds = min(2 * self.seconds, LONGEST_BACKOFF)
