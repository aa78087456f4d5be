"""Which waiting texts run together. Pure: knows neither queue, threads, HTTP nor ONNX."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Cost = Callable[[Sequence[int]], int]
"""What a batch of texts of these lengths costs, in tokens really computed: `Encoder.cost`."""

# A batch may waste this much on padding. The floor is about what starting one more batch costs.
WASTE_SHARE = 0.25
WASTE_FLOOR = 64


@dataclass(frozen=True)
class BatchLimits:
    """How large a batch may be; one text is always allowed."""

    tokens: int = 1024
    """Padding included."""
    items: int = 64
    look_ahead: int = 256
    """How many of the oldest waiting texts are considered."""
    bulk_tokens: int = 256
    """The same as `tokens` for bulk work while interactive requests come in: they wait for a batch that has begun."""


def choose(lengths: Sequence[int], cost: Cost, *, tokens: int, items: int) -> list[int]:
    """Pick the texts that run together with the oldest one.

    `lengths` are in order of arrival; index 0 is always picked, so nothing starves. Neighbours in length join, the
    nearest first, while the batch costs at most `tokens`, has at most `items` texts, and wastes little on padding:
    a long outlier runs alone instead of dragging short texts along.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    ascending = [lengths[i] for i in order]
    low = order.index(0)
    high = low + 1
    below, above = 0, len(order)  # how far the range [low, high) may still grow
    while high - low < items and (low > below or high < above):
        step_down = ascending[low] - ascending[low - 1] if low > below else math.inf
        step_up = ascending[high] - ascending[high - 1] if high < above else math.inf
        downwards = step_down <= step_up
        candidate = ascending[low - 1 : high] if downwards else ascending[low : high + 1]
        if _fits(candidate, cost, tokens):
            low, high = (low - 1, high) if downwards else (low, high + 1)
        elif downwards:
            below = low
        else:
            above = high
    return order[low:high]


def _fits(lengths: Sequence[int], cost: Cost, tokens: int) -> bool:
    price = cost(lengths)
    return price <= tokens and price - sum(lengths) <= max(WASTE_FLOOR, WASTE_SHARE * price)
