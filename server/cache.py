"""Vectors of texts that came before, the least recently used forgotten first. Knows neither texts nor models.

Keys are what was given to the model, token by token, so prompt, truncation and its side are part of them; a cache
belongs to one opened bundle. To be used from one thread.
"""

from collections import OrderedDict

from bundle.arrays import Vectors

# What an entry costs besides its key and numbers: two objects, their headers and a place in the table.
_OVERHEAD = 250


class VectorCache:
    """Holds float32[dim] by key, never more than `limit` bytes of them."""

    def __init__(self, limit: int) -> None:
        """`limit` is in bytes; 0: nothing is ever kept."""
        self._limit = limit
        self._entries: OrderedDict[bytes, Vectors] = OrderedDict()
        self.bytes = 0
        """What the entries take."""

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> Vectors | None:
        """The vector kept under `key`, which now is the most recently used one."""
        vector = self._entries.get(key)
        if vector is not None:
            self._entries.move_to_end(key)
        return vector

    def put(self, key: bytes, vector: Vectors) -> None:
        """Keep a copy of `vector`, unless it alone is more than the limit."""
        size = _size(key, vector)
        if key in self._entries or size > self._limit:
            return
        self._entries[key] = vector.copy()
        self.bytes += size
        while self.bytes > self._limit:
            old_key, old_vector = self._entries.popitem(last=False)
            self.bytes -= _size(old_key, old_vector)


def _size(key: bytes, vector: Vectors) -> int:
    return len(key) + vector.nbytes + _OVERHEAD
