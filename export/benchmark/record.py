"""What a benchmark of engines found: `benchmarks/engine.json` and the table on the terminal. Measures nothing."""

from collections.abc import Mapping

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from bundle.timing import Load, Seconds, ratio, tokens_per_second
from export.benchmark.engines import BASELINE, ROOF
from export.benchmark.operators import OperatorShare

WIDTH = 120
"""In characters; what is no terminal would have 80, and fold every figure."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """How fast one engine runs one model under one load; the median round, the slowest and the fastest."""

    engine: str
    model: str
    threads: int
    shape: str
    """Texts × tokens."""
    tokens_per_s: float
    min: float
    max: float


class EngineBenchmark(msgspec.Struct, frozen=True, kw_only=True):
    """The content of `benchmarks/engine.json`."""

    machine: dict[str, str | int | list[str]]
    rows: list[Row]
    operators: list[OperatorShare]
    """Where the time of this project's int8 graph goes in ONNX Runtime."""


def make_rows(seconds: Seconds, loads: Mapping[str, Load], model: str) -> list[Row]:
    """One row an engine and load, from the times of a single thread."""
    rows = []
    for engine, taken in seconds.items():
        for name, load in loads.items():
            speeds = load.texts * load.tokens / np.median(taken[name], axis=1)
            rows.append(
                Row(
                    engine=engine,
                    model=model,
                    threads=1,
                    shape=f"{load.texts}x{load.tokens}",
                    tokens_per_s=round(float(np.median(speeds)), 1),
                    min=round(float(speeds.min()), 1),
                    max=round(float(speeds.max()), 1),
                )
            )
    return rows


def print_table(seconds: Seconds, loads: Mapping[str, Load], model: str, console: Console) -> None:
    """Every engine's tokens/s, also as a multiple of the baseline and a share of the roof, by ratios within a round."""
    table = Table(title=f"{model}: thousands of tokens/s on one thread (× {BASELINE}, % of {ROOF})")
    table.add_column("engine")
    for load in loads.values():
        table.add_column(f"{load.texts} × {load.tokens}", justify="right")
    for engine, taken in seconds.items():
        cells = []
        for name, load in loads.items():
            speed = tokens_per_second(load, taken[name]) / 1000
            against = ratio(seconds[BASELINE][name], taken[name])
            share = 100 * ratio(seconds[ROOF][name], taken[name])
            cells.append(f"{speed:.1f} (×{against:.2f}, {share:.0f} %)")
        table.add_row(engine, *cells)
    console.print(table, width=max(console.width, WIDTH), crop=False)
