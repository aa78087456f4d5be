"""`--tune`: which form of the int8 graph, and which engine, is fastest on this machine and loses nothing by it.

Every comparison is made in turns on one compute thread, as the server's workers have it. A form that does not meet the
gates is no candidate, however fast.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import msgspec
from rich.console import Console
from rich.table import Table

from bundle.arrays import flatten
from bundle.choice import has_fast_native, is_installed
from bundle.cpu import detect_cpu, features
from bundle.errors import UnsupportedGraphError
from bundle.manifest import Precision, Runtime, Tuned
from bundle.openvino_encoder import OpenVinoEncoder
from bundle.runtime import Encoder
from bundle.timing import LOADS, Contender, Seconds, loads_within, ratio, time_in_turns, tokens_per_second
from export.forms import Form, changes
from export.gates import parity_gates
from export.settings import ExportSettings
from export.verify import Verifier

WORTH_IT = 1.02
"""A form that is faster by less is not told from the one before: times differ that much from run to run."""
SURE = 0.25
"""Nor is one that is slower than that in more than this share of the rounds: the machine is busy."""


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One change of the graph's form, measured against the best form so far."""

    change: str
    speedup: float
    """Geometric mean over the loads; 0 where it was not timed."""
    speedups: dict[str, float]
    """By load (`bundle.timing.LOADS`)."""
    least: float
    """The speedup that three of four rounds reach; 0 where it was not timed."""
    failed: list[str]
    """The gates it does not meet."""
    kept: bool


class EngineTime(msgspec.Struct, frozen=True, kw_only=True):
    """How fast an engine runs the student."""

    engine: str
    runtime: Runtime
    precision: Precision
    tokens_per_second: dict[str, float]
    """By load, one thread."""
    speedup: float
    """Against the first engine, geometric mean over the loads."""
    failed: list[str]
    """The gates it does not meet."""


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """The content of `tuning.json`."""

    form: Form
    trials: list[Trial]
    engines: list[EngineTime]
    fastest: Tuned


class Quantize(Protocol):
    """Writes an int8 graph."""

    def __call__(self, target: Path, /, *, form: Form) -> object:
        """Write the graph of that form to `target`."""


def search_form(
    start: Form,
    quantize: Quantize,
    workspace: Path,
    verifier: Verifier,
    settings: ExportSettings,
    *,
    tell: Callable[[str], None],
) -> tuple[Form, list[Trial]]:
    """Change one thing of the form after the other and keep what makes the graph faster.

    `workspace` is a folder for the graphs that are tried; `tell` shows the progress.
    """

    def open_form(form: Form) -> Encoder:
        graph = workspace / "candidate.onnx"
        quantize(graph, form=form)
        return verifier.open(graph, "int8", threads=1)

    best, fastest = start, open_form(start)
    trials = []
    for name, change in changes(start).items():
        form = msgspec.structs.replace(best, **change)
        encoder = open_form(form)
        failed = _failed(encoder, verifier, settings)
        speedups: dict[str, float] = {}
        least: dict[str, float] = {}
        if not failed:
            seconds = _time({"before": fastest, "after": encoder}, verifier)
            pairs = {load: (taken, seconds["after"][load]) for load, taken in seconds["before"].items()}
            speedups = {load: ratio(*pair) for load, pair in pairs.items()}
            least = {load: ratio(*pair, quantile=SURE) for load, pair in pairs.items()}
        speedup, kept = _mean(speedups), _mean(least) > WORTH_IT
        trials.append(
            Trial(change=name, speedup=speedup, speedups=speedups, least=_mean(least), failed=failed, kept=kept)
        )
        verdict = f"{speedup:.2f} times as fast{', kept' if kept else ''}"
        tell(f"{name}: {'fails ' + ', '.join(failed) if failed else verdict}")
        if kept:
            best, fastest = form, encoder
    return best, trials


def compare_engines(
    graphs: Mapping[Precision, Path], verifier: Verifier, settings: ExportSettings, *, tell: Callable[[str], None]
) -> list[EngineTime]:
    """Time every engine that can run one of the `graphs` which the bundle will hold, the preferred graph first.

    In ONNX Runtime the graphs have met their gates already; other engines are put to them here. `tell` is told of one
    that is here and cannot run a graph.
    """
    for_cpus: tuple[Precision, ...] = ("int8", "fp32")
    precisions = [precision for precision in for_cpus if precision in settings.precision]
    encoders: dict[tuple[Runtime, Precision], Encoder] = {
        ("onnxruntime", precision): verifier.open(graphs[precision], precision, threads=1) for precision in precisions
    }
    if "fp32" in settings.precision and is_installed("openvino"):
        encoders["openvino", "fp32"] = OpenVinoEncoder(graphs["fp32"], dimension=verifier.dimension)
    if has_fast_native(detect_cpu()):
        for precision in precisions:
            try:
                encoders["native", precision] = verifier.open_native(graphs[precision])
            except UnsupportedGraphError as error:
                tell(f"native {precision}: left out, {error}")
    names = {f"{runtime} {precision}": encoder for (runtime, precision), encoder in encoders.items()}
    seconds = _time(names, verifier)
    reference = seconds[next(iter(names))]
    loads = loads_within(verifier.text_encoder.max_length)
    times = []
    for (name, taken), (runtime, precision) in zip(seconds.items(), encoders, strict=True):
        # Others compute in 16 bits where they can: held to what int8 must keep.
        failed = _failed(names[name], verifier, settings) if runtime != "onnxruntime" else []
        times.append(
            EngineTime(
                engine=names[name].description,
                runtime=runtime,
                precision=precision,
                tokens_per_second={load: tokens_per_second(shape, taken[load]) for load, shape in loads.items()},
                speedup=_mean({load: ratio(reference[load], taken[load]) for load in loads}),
                failed=failed,
            )
        )
    return times


def fastest_of(engines: list[EngineTime]) -> Tuned:
    """What a server on such a CPU should run."""
    best = max((engine for engine in engines if not engine.failed), key=lambda engine: engine.speedup)
    return Tuned(features=features(), runtime=best.runtime, precision=best.precision)


def print_tuning(tuning: Tuning, console: Console) -> None:
    """Show what was tried."""
    table = Table(title="Engines, one thread, thousands of tokens/s")
    table.add_column("engine")
    for load in LOADS:
        table.add_column(load, justify="right")
    table.add_column("speed", justify="right")
    for engine in tuning.engines:
        chosen = (engine.runtime, engine.precision) == (tuning.fastest.runtime, tuning.fastest.precision)
        speeds = [f"{engine.tokens_per_second[load] / 1000:.1f}" for load in LOADS]
        table.add_row(engine.engine, *speeds, f"{engine.speedup:.2f}", style="bold" if chosen else None)
    console.print(table)


def _failed(encoder: Encoder, verifier: Verifier, settings: ExportSettings) -> list[str]:
    """The gates of int8 that `encoder` does not meet."""
    return [gate.name for gate in parity_gates("int8", verifier.parity(encoder), settings) if not gate.passed]


def _time(encoders: Mapping[str, Encoder], verifier: Verifier) -> Seconds:
    ids, _ = flatten(verifier.ids)
    contenders = {name: Contender(encoder, ids) for name, encoder in encoders.items()}
    return time_in_turns(contenders, loads_within(verifier.text_encoder.max_length))


def _mean(speedups: Mapping[str, float]) -> float:
    return math.exp(sum(map(math.log, speedups.values())) / len(speedups)) if speedups else 0.0
