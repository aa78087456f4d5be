"""The texts that wait, in lanes: interactive ones go before those of bulk requests, but not always.

Knows how many wait and in which order, not who waits for them or what becomes of them.
"""

from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice

from server.jobs import LANES, Item, Lane

# Of so many batches one is bulk's, however much interactive work waits.
BULK_TURN = 8


class Lanes:
    """Items in the order in which they came, lane by lane."""

    def __init__(self) -> None:
        self._items: dict[Lane, OrderedDict[bytes, Item]] = {lane: OrderedDict() for lane in LANES}
        self._tokens = dict.fromkeys(LANES, 0)
        self._passed_over = 0  # batches that bulk work has waited for

    def __len__(self) -> int:
        return sum(map(len, self._items.values()))

    def __iter__(self) -> Iterator[Item]:
        for lane in self._items.values():
            yield from lane.values()

    def __contains__(self, item: Item) -> bool:
        return self._items[item.lane].get(item.key) is item

    def count(self, lane: Lane) -> int:
        """How many items wait in a lane."""
        return len(self._items[lane])

    def tokens(self, lane: Lane | None = None) -> int:
        """How many tokens wait in a lane, or in all of them."""
        return self._tokens[lane] if lane else sum(self._tokens.values())

    def oldest(self) -> float | None:
        """When the item arrived that has waited longest, if any waits."""
        return min((next(iter(lane.values())).arrived for lane in self._items.values() if lane), default=None)

    def first(self, lane: Lane, number: int) -> list[Item]:
        """Up to `number` items of a lane, those that have waited longest."""
        return list(islice(self._items[lane].values(), number))

    def add(self, item: Item) -> None:
        """Put an item at the end of its lane."""
        self._items[item.lane][item.key] = item
        self._tokens[item.lane] += len(item.ids)

    def remove(self, item: Item) -> None:
        """Take an item out."""
        del self._items[item.lane][item.key]
        self._tokens[item.lane] -= len(item.ids)

    def hurry(self, item: Item) -> None:
        """Somebody waits for `item`, or for its batch, who is in a hurry."""
        waits = item in self
        if waits:
            self.remove(item)
        item.lane = "interactive"
        if waits:
            self.add(item)
            self._items["interactive"].move_to_end(item.key, last=False)  # it has waited longest, more or less

    def next_lane(self) -> Lane:
        """Whose turn it is: interactive work's, but one batch in `BULK_TURN` is bulk's when both wait."""
        bulk_waits = bool(self._items["bulk"])
        if self._items["interactive"] and not (bulk_waits and self._passed_over + 1 >= BULK_TURN):
            self._passed_over += bulk_waits
            return "interactive"
        self._passed_over = 0
        return "bulk"
