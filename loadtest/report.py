"""A run as one document: for people (a table) and for programs (JSON). Owns units and field names; measures nothing."""

import ipaddress
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from loadtest.bottleneck import find_bottlenecks
from loadtest.measurement import Ending, Measurement, Seconds, percentile
from loadtest.slo import Verdict


class Distribution(msgspec.Struct, frozen=True):
    """Milliseconds: percentiles of observed values, nothing interpolated."""

    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    p99_9: float = msgspec.field(name="p99.9")
    max: float


class Requests(msgspec.Struct, frozen=True, kw_only=True):
    """Requests that were due in the measured window."""

    due: int
    succeeded: int
    failed: int
    unfinished: int
    errors: dict[str, int]
    """Failures by kind: `HTTP 429`, `timeout`, `cannot connect`, `connection lost`, `not HTTP`, `invalid answer`."""


class Throughput(msgspec.Struct, frozen=True):
    """Valid answers that arrived in the measured window, per second."""

    requests_per_second: float
    texts_per_second: float


class Generator(msgspec.Struct, frozen=True):
    """How this program itself did."""

    cpu_share: float
    """Cores used."""
    on_loopback: bool
    """Whether server and generator share one machine, and so take processor time from each other."""
    lag_ms: Distribution | None
    """Actual minus intended send times; None in a closed loop, which intends none."""
    bottlenecks: list[str]
    """Why the figures are not to be trusted; empty for a sound run."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about a run, and enough to repeat it."""

    format: int = 1
    date: str
    ending: Ending
    seconds: float
    requests: Requests
    throughput: Throughput
    latency_ms: Distribution | None
    """Of the requests that succeeded, from their intended send time; None when none did."""
    generator: Generator
    slo: list[Verdict]
    settings: dict[str, Any]
    machine: dict[str, str | int | None]
    versions: dict[str, str]


def make_report(
    measurement: Measurement,
    verdicts: Sequence[Verdict],
    *,
    texts_per_request: int,
    paced: bool,
    settings: dict[str, Any],
) -> Report:
    """Describe a run. `paced`: whether it was an open loop; `settings`: what it was asked to do, free of secrets."""
    succeeded = measurement.succeeded
    answers_per_second = measurement.answered / measurement.seconds if measurement.seconds else 0.0
    return Report(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        ending=measurement.ending,
        seconds=measurement.seconds,
        requests=Requests(
            due=len(succeeded),
            succeeded=int(succeeded.sum()),
            failed=int((~succeeded).sum()),
            unfinished=measurement.unfinished,
            errors=measurement.errors,
        ),
        throughput=Throughput(answers_per_second, answers_per_second * texts_per_request),
        latency_ms=_distribution(measurement.latencies[succeeded]),
        generator=Generator(
            cpu_share=measurement.cpu_share,
            on_loopback=_is_loopback(settings["url"]),
            lag_ms=_distribution(measurement.lags) if paced else None,
            bottlenecks=find_bottlenecks(measurement),
        ),
        slo=list(verdicts),
        settings=settings,
        machine=describe_machine(),
        versions={"python": platform.python_version(), **{name: version(name) for name in ("httptools", "numpy")}},
    )


def write_json(report: Report, path: Path) -> None:
    """Write the report as indented JSON; readers see the old file or the whole new one.

    Raises:
        OSError: the folder is missing or not writable.
    """
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        partial.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def print_report(report: Report, console: Console) -> None:
    """Show what a person wants to know first: answers, latency, failures, and whether to believe it."""
    console.print(_figures(report))
    for verdict in report.slo:
        console.print(_verdict_line(verdict), highlight=False)
    if report.ending != "complete":
        console.print(f"[yellow]The run ended early: {report.ending}.[/]", highlight=False)
    for reason in report.generator.bottlenecks:
        console.print(f"[red]Do not trust this run:[/] {reason}.", highlight=False)


def _figures(report: Report) -> Table:
    table = Table(show_header=False, title=escape(f"{report.settings['route']} at {report.settings['url']}"))
    table.add_column(justify="left")
    table.add_column(justify="right")
    requests = report.requests
    table.add_row("measured", f"{report.seconds:.1f} s")
    table.add_row("answers", f"{report.throughput.requests_per_second:,.1f} requests/s")
    table.add_row("", f"{report.throughput.texts_per_second:,.1f} texts/s")
    table.add_row("succeeded", f"{requests.succeeded:,} of {requests.due:,}")
    for kind, count in requests.errors.items():
        table.add_row(kind, f"[red]{count:,}[/]")
    if requests.unfinished:
        table.add_row("unfinished", f"{requests.unfinished:,}")
    table.add_section()
    _add_distribution(table, "latency", report.latency_ms)
    table.add_section()
    table.add_row("generator", f"{report.generator.cpu_share:.0%} of a core")
    if report.generator.on_loopback:
        table.add_row("", "on the server's machine")
    if report.generator.lag_ms is not None:
        table.add_row("lag p99", f"{report.generator.lag_ms.p99:.2f} ms")
    return table


def _add_distribution(table: Table, name: str, distribution: Distribution | None) -> None:
    if distribution is not None:
        for measure, milliseconds in msgspec.to_builtins(distribution).items():
            table.add_row(f"{name} {measure}", f"{milliseconds:.2f} ms")


def _verdict_line(verdict: Verdict) -> str:
    if verdict.actual is None:
        actual = "no finite figure"
    else:
        actual = f"{verdict.actual:.3%}" if verdict.unit == "share" else f"{verdict.actual * 1e3:.2f} ms"
    return f"{'[green]holds[/]' if verdict.holds else '[red]violated[/]'}  {verdict.objective}: {actual}"


def _distribution(seconds: Seconds) -> Distribution | None:
    if not len(seconds):
        return None
    ascending = np.sort(seconds) * 1e3
    return Distribution(
        mean=float(ascending.mean()),
        p50=percentile(ascending, 50),
        p90=percentile(ascending, 90),
        p95=percentile(ascending, 95),
        p99=percentile(ascending, 99),
        p99_9=percentile(ascending, 99.9),
        max=float(ascending[-1]),
    )


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost"


def describe_machine() -> dict[str, str | int | None]:
    """What figures depend on besides the programs."""
    return {"platform": platform.platform(), "processor": _processor(), "cores": os.cpu_count()}


def _processor() -> str | None:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or None
