"""How many texts per second each API key may embed: a token bucket per key. Knows keys by their hashes, and no HTTP."""

import time
from collections.abc import Callable
from dataclasses import dataclass

BURST_SECONDS = 10
"""A key that was idle for so long may use all of that time's texts at once."""


@dataclass(slots=True)
class _Bucket:
    texts: float
    filled: float


class RateLimits:
    """One bucket per key. To be used from one event loop."""

    def __init__(
        self,
        texts_per_second: float,
        *,
        is_valid: Callable[[bytes], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`is_valid` tells whether a key, by its hash, is still one; the others' buckets are forgotten."""
        self.texts_per_second = texts_per_second
        self._capacity = max(texts_per_second * BURST_SECONDS, 1.0)
        self._is_valid = is_valid
        self._clock = clock
        self._buckets: dict[bytes, _Bucket] = {}

    def take(self, key: bytes, texts: int) -> float:
        """Take all of the texts from the key's bucket, or none; returns the seconds to wait for them, 0 if taken.

        A full bucket gives any number, and owes it afterwards: a request of any size is accepted sometime.
        """
        bucket = self._filled(key)
        missing = min(texts, self._capacity) - bucket.texts
        if missing > 0:
            return missing / self.texts_per_second
        bucket.texts -= texts
        return 0.0

    def give_back(self, key: bytes, texts: int) -> None:
        """Undo a `take` for texts that were not embedded after all."""
        self._filled(key).texts += texts

    def _filled(self, key: bytes) -> _Bucket:
        now = self._clock()
        if (bucket := self._buckets.get(key)) is None:
            self._buckets = {known: bucket for known, bucket in self._buckets.items() if self._is_valid(known)}
            bucket = self._buckets[key] = _Bucket(self._capacity, now)
        bucket.texts = min(self._capacity, bucket.texts + (now - bucket.filled) * self.texts_per_second)
        bucket.filled = now
        return bucket
