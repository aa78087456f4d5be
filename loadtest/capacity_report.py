"""A search for the capacity as one document. Owns its field names; searches and shows nothing."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from loadtest.machine import Machine, describe_machine, is_loopback, versions
from loadtest.trials import Conclusion, Trial


class CapacityReport(msgspec.Struct, frozen=True, kw_only=True):
    """The highest rate that held, every rate that was tried, and enough to repeat it."""

    format: int = 1
    date: str
    conclusion: Conclusion
    requests_per_second: float | None
    """The highest rate at which every objective held; None where none did."""
    on_loopback: bool
    """Whether server and generator share one machine, and so take processor time from each other."""
    trials: list[Trial]
    """In the order in which they were made."""
    settings: dict[str, Any]
    machine: Machine
    versions: dict[str, str]


def make_capacity_report(
    conclusion: Conclusion, held: float | None, trials: Sequence[Trial], *, settings: dict[str, Any]
) -> CapacityReport:
    """Describe a search. `settings`: what it was asked to do, free of secrets."""
    return CapacityReport(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        conclusion=conclusion,
        requests_per_second=held,
        on_loopback=is_loopback(settings["url"]),
        trials=list(trials),
        settings=settings,
        machine=describe_machine(),
        versions=versions(),
    )
