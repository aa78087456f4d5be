"""From a budget of latency or size to a recipe: units, and the best rung of the ladder within it. Measures nothing.

The ladder was measured on some machine; here, a rung is taken to need its ladder's multiple of what the shipped
student needs here.
"""

import re
from dataclasses import dataclass

from train.errors import BudgetError
from train.ladder.rungs import Ladder, Rung

_MILLISECONDS = {"us": 1e-3, "µs": 1e-3, "μs": 1e-3, "ms": 1.0, "s": 1e3}
_BYTES = {"b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30}


@dataclass(frozen=True)
class Budget:
    """At most so much of each; None sets no bound."""

    milliseconds: float | None = None
    bytes: float | None = None


@dataclass(frozen=True)
class Choice:
    """The best rung within a budget; without a bound on latency, none was measured."""

    rung: Rung
    milliseconds: float | None


def parse_latency(text: str) -> float:
    """`1ms`, `800 us` or `0.001s` in milliseconds.

    Raises:
        BudgetError: no positive number, or no unit of time.
    """
    return _parse(text, _MILLISECONDS, "a time such as 1ms, 800us or 0.5s")


def parse_size(text: str) -> float:
    """`15MB`, `900 kB` or `14.5MiB` in bytes.

    Raises:
        BudgetError: no positive number, or no unit of size.
    """
    return _parse(text, _BYTES, "a size such as 15MB, 900kB or 14.5MiB")


def choose_rung(ladder: Ladder, budget: Budget, *, reference_ms: float | None) -> Choice:
    """The rung of the best quality that a shipped recipe makes and that keeps to `budget`.

    `reference_ms` is what the shipped student needs on this machine; None where latency is not bounded.

    Raises:
        BudgetError: nothing fits; the message lists the rungs.
    """
    choices = [
        Choice(rung, None if reference_ms is None else reference_ms * rung.latency_ratio)
        for rung in ladder.rungs
        if rung.trainable
    ]
    fitting = [choice for choice in choices if _fits(choice, budget)]
    if not fitting:
        listed = "\n".join(f"  {_describe(choice)}" for choice in choices) or "  none that a shipped recipe makes"
        raise BudgetError(f"no student is within {describe_budget(budget)}; the rungs of the ladder:\n{listed}")
    return max(fitting, key=lambda choice: choice.rung.quality)


def describe_choice(choice: Choice, budget: Budget) -> str:
    """What was chosen and why, in one line."""
    return f"best within {describe_budget(budget)}: {_describe(choice)}"


def describe_budget(budget: Budget) -> str:
    """The bounds in words."""
    bounds = []
    if budget.milliseconds is not None:
        bounds.append(f"{budget.milliseconds:g} ms")
    if budget.bytes is not None:
        bounds.append(f"{budget.bytes / 1e6:g} MB")
    return " and ".join(bounds)


def _fits(choice: Choice, budget: Budget) -> bool:
    in_time = budget.milliseconds is None or (
        choice.milliseconds is not None and choice.milliseconds <= budget.milliseconds
    )
    return in_time and (budget.bytes is None or choice.rung.bytes <= budget.bytes)


def _describe(choice: Choice) -> str:
    rung = choice.rung
    cost = [] if choice.milliseconds is None else [f"{choice.milliseconds:.3g} ms here"]
    cost.append(f"{rung.bytes / 1e6:.1f} MB")
    return f"{rung.name} ({', '.join(cost)}; STS {rung.sts.mean:.2f}, retrieval {rung.retrieval.mean:.2f})"


def _parse(text: str, units: dict[str, float], expected: str) -> float:
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([A-Za-zµμ]+)\s*", text)
    factor = units.get(match[2].lower()) if match else None
    if match is None or factor is None or float(match[1]) == 0:
        raise BudgetError(f"{text!r} is not {expected} (units: {', '.join(units)})")
    return float(match[1]) * factor
