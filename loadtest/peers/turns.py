"""Who is measured when: in every round every system under every load, one at a time. Knows no record."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from loadtest.peers.errors import AbsentError
from loadtest.peers.measure import Figures, Load

Measure = Callable[[str, Load], Figures]
"""Measures the named system, which raises AbsentError when it can no longer be measured."""


@dataclass
class Results:
    """What was measured, and what could not be."""

    figures: dict[tuple[str, Load], dict[int, Figures]] = field(default_factory=dict)
    """By system and load: figures by round."""
    absent: dict[str, str] = field(default_factory=dict)
    """By system: the reason."""


def take_turns(
    systems: Sequence[str],
    loads: Sequence[Load],
    measure: Measure,
    *,
    rounds: int,
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
) -> Results:
    """Measure all, round by round, and stop before `seconds` are over.

    The unit is a load in a round: all systems are measured under it or none, one right after the other, so that what
    slows the machine for a while hits all alike. Who comes first changes from one to the next.
    """
    results, left = Results(), list(systems)
    began, longest, turn = clock(), 0.0, 0
    for number in range(rounds):
        for load in loads:
            start = clock()
            if start - began + longest > seconds:
                print(f"time is up in round {number + 1} of {rounds}", file=sys.stderr)
                return results
            first = turn % max(1, len(left))
            for name in left[first:] + left[:first]:
                try:
                    results.figures.setdefault((name, load), {})[number] = measure(name, load)
                except AbsentError as error:
                    results.absent[name] = str(error)
                    left.remove(name)
            turn += 1
            longest = max(longest, clock() - start)
    return results


def ratios(of: Mapping[int, Figures], to: Mapping[int, Figures], figure: Callable[[Figures], float]) -> list[float]:
    """`figure` of one system against that of another, a ratio for each round in which both were measured."""
    return [figure(of[number]) / figure(to[number]) for number in of if number in to]
