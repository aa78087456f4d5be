"""A report for the terminal. Computes nothing."""

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from loadtest.capacity_report import CapacityReport
from loadtest.report import Distribution, Report
from loadtest.slo import Verdict
from loadtest.timeline import Interval
from loadtest.trials import Trial

_MOST_ROWS = 12


def print_report(report: Report, console: Console) -> None:
    """Show what a person wants to know first: answers, latency, failures, and whether to believe it."""
    console.print(_figures(report))
    if report.settings["shape"] != "steady":
        console.print(_over_time(report.timeline))
    for verdict in report.slo:
        console.print(_verdict_line(verdict), highlight=False)
    if report.ending != "complete":
        console.print(f"[yellow]The run ended early: {report.ending}.[/]", highlight=False)
    for reason in report.generator.bottlenecks:
        console.print(f"[red]Do not trust this run:[/] {reason}.", highlight=False)


def print_trial(trial: Trial, console: Console) -> None:
    """Show a step of a search, once it is made."""
    verdicts = ", ".join(_verdict_line(verdict) for verdict in trial.slo)
    failed = f", {sum(trial.errors.values()):,} failed" if trial.errors else ""
    console.print(f"{trial.rate:>10,.1f} requests/s  {verdicts}{failed}", highlight=False)


def print_capacity(report: CapacityReport, console: Console) -> None:
    """Show what a search has come to; its trials were shown as they were made."""
    objectives = escape(", ".join(report.settings["slo"]))
    held = report.requests_per_second
    if report.conclusion == "found":
        within = f"within {report.settings['resolution']:.0%}"
        console.print(
            f"[bold]{held:,.1f} requests/s[/] is the highest rate with {objectives}, {within}.", highlight=False
        )
    else:
        at_least = "" if held is None else f"; {held:,.1f} requests/s held"
        console.print(f"[red]No capacity found:[/] {report.conclusion}{at_least}.", highlight=False)
    if report.on_loopback:
        console.print("Server and generator shared this machine: alone the server has more.", highlight=False)
    for reason in report.trials[-1].bottlenecks if report.trials else ():
        console.print(f"[red]The last step is not to be trusted:[/] {reason}.", highlight=False)


def _figures(report: Report) -> Table:
    table = Table(show_header=False, title=escape(f"{report.settings['routes']} at {report.settings['url']}"))
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
    if report.answers_checked is not None:
        table.add_row("vectors checked", f"{report.answers_checked:,} answers")
    table.add_section()
    _add_distribution(table, "latency", report.latency_ms)
    table.add_section()
    table.add_row("generator", f"{report.generator.cpu_share:.0%} of a core")
    table.add_row("", f"{report.generator.cpu_us_per_request:.0f} µs/request")
    if report.generator.on_loopback:
        table.add_row("", "on the server's machine")
    if report.generator.lag_ms is not None:
        table.add_row("lag p99", f"{report.generator.lag_ms.p99:.2f} ms")
    return table


def _over_time(timeline: list[Interval]) -> Table:
    table = Table("from", "due/s", "answers/s", "failed", "p50 ms", "p99 ms", title="over time")
    every = -(-len(timeline) // _MOST_ROWS)
    for interval in timeline[::every]:
        table.add_row(
            f"{interval.start:g} s",
            f"{interval.due / interval.seconds:,.0f}",
            f"{interval.answered / interval.seconds:,.0f}",
            f"{interval.failed:,}",
            *(f"{value:.2f}" if value is not None else "–" for value in (interval.p50, interval.p99)),
        )
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
