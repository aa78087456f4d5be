"""The content of `benchmarks/peers.json`: medians over rounds, ratios within them, and what they depend on."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from loadtest.peers.measure import Figures, Load
from loadtest.peers.systems import System
from loadtest.peers.turns import ratios


class Spread(msgspec.Struct, frozen=True):
    """Of a ratio over rounds."""

    median: float
    min: float
    max: float


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One system under one load."""

    system: str
    load: str
    clients: int
    texts_per_request: int
    length: str
    rounds: int
    figures: dict[str, float]
    """Medians over rounds; `failed` is the sum."""
    texts_per_second_range: tuple[float, float]
    throughput_of_ours: Spread | None
    """Texts/s, divided by those of our server with the same model in the same round."""
    p50_of_ours: Spread | None
    """The same for the median latency: above 1 is slower."""
    generator_bottlenecks: list[str]
    """Why a figure of this row may describe the generator; empty for a sound one."""


class SystemRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A system that was measured, or why it was not."""

    title: str
    command: str
    reference: str
    """What its vectors were compared with: those of the teacher or of the student."""
    lowest_cosine: float | None = None
    startup_seconds: float | None = None
    engine: str | None = None
    """What computes, where the system says it."""
    versions: dict[str, str] = {}
    absent: str | None = None


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A whole comparison."""

    format: int = 1
    date: str
    commit: str | None
    machine: dict[str, Any]
    command: str
    settings: dict[str, Any]
    ours: str
    """The system that ratios are against."""
    systems: dict[str, SystemRecord]
    rows: list[Row]


def make_rows(
    figures: Mapping[tuple[str, Load], Mapping[int, Figures]], systems: Sequence[System], ours: str
) -> list[Row]:
    """A row for each system and load that was measured, systems in their order."""
    order = {system.name: place for place, system in enumerate(systems)}
    rows = []
    for (name, load), by_round in sorted(figures.items(), key=lambda item: order[item[0][0]]):
        of_ours = figures.get((ours, load), {})
        speeds = [found.texts_per_second for found in by_round.values()]
        rows.append(
            Row(
                system=name,
                load=load.name,
                clients=load.clients,
                texts_per_request=load.texts_per_request,
                length=load.length,
                rounds=len(by_round),
                figures=_medians(list(by_round.values())),
                texts_per_second_range=(_round(min(speeds)), _round(max(speeds))),
                throughput_of_ours=spread(ratios(by_round, of_ours, lambda found: found.texts_per_second)),
                p50_of_ours=spread(ratios(by_round, of_ours, lambda found: found.p50_ms)),
                generator_bottlenecks=sorted(
                    {reason for found in by_round.values() for reason in found.generator_bottlenecks}
                ),
            )
        )
    return rows


def spread(values: Sequence[float]) -> Spread | None:
    """Median and range; None of nothing."""
    return Spread(_round(median(values)), _round(min(values)), _round(max(values))) if values else None


def commit() -> str | None:
    """The checkout's commit, with `-dirty` where tracked files differ from it; None outside of one."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # a machine without git
        return None
    return done.stdout.strip() or None


def write(record: msgspec.Struct, path: Path) -> None:
    """Indented JSON; readers see the old file or the whole new one.

    Raises:
        OSError: the folder is not writable.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")
    partial.replace(path)


def _medians(found: Sequence[Figures]) -> dict[str, float]:
    numbers = [msgspec.to_builtins(figures) for figures in found]
    medians = {
        name: _round(median(figures[name] for figures in numbers))
        for name, value in numbers[0].items()
        if isinstance(value, float)
    }
    return medians | {"failed": sum(figures["failed"] for figures in numbers)}


def _round(value: float) -> float:
    return float(f"{value:.4g}")
