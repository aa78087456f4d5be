"""The two things the command does: one run, or a search for the capacity. Settings → report → exit code."""

import asyncio
import selectors
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from loadtest.arrivals import Load, open_loop
from loadtest.capacity import LEAST_REQUESTS, Search
from loadtest.capacity_report import CapacityReport, make_capacity_report
from loadtest.exits import NOT_RUN, exit_code, exit_code_of_search
from loadtest.files import write_whole
from loadtest.measurement import Measurement
from loadtest.page import to_html
from loadtest.progress import shown
from loadtest.report import Report, make_report, to_json
from loadtest.session import Session, load_of, opened
from loadtest.settings import HIGHEST_RATE, Settings
from loadtest.slo import check, parse_objective
from loadtest.table import print_capacity, print_report, print_trial
from loadtest.trials import Trial, find_capacity

T = TypeVar("T")


def load_and_report(settings: Settings) -> int:
    """Apply the load that `settings` describe, print and write the report, and return the exit code.

    Raises:
        CorpusError, LengthsError: the user's texts or lengths cannot be used.
        ServerError: there is no server to load.
    """
    report = _in_loop(_load(settings))
    print_report(report, Console())
    return exit_code(report) if _write(report, settings) else NOT_RUN


def search_and_report(settings: Settings) -> int:
    """Search the highest rate that holds the objectives, print and write the report, and return the exit code.

    Raises:
        As `load_and_report`.
    """
    report = _in_loop(_search(settings))
    print_capacity(report, Console())
    return exit_code_of_search(report) if _write(report, settings) else NOT_RUN


async def _load(settings: Settings) -> Report:
    async with opened(settings) as session:
        measurement = await _measure(settings, session, load_of(settings), label=settings.routes)
    return make_report(
        measurement,
        check([parse_objective(text) for text in settings.slo], measurement),
        paced=settings.clients is None,
        answers_checked=session.check.answers if session.check else None,
        settings=settings.model_dump(mode="json"),
    )


async def _search(settings: Settings) -> CapacityReport:
    assert settings.rate is not None
    seconds = settings.warmup + settings.duration
    search = Search(
        first=settings.rate,
        lowest=min(LEAST_REQUESTS / settings.duration, settings.rate),
        highest=min(HIGHEST_RATE, settings.max_requests / seconds),
        resolution=settings.resolution,
    )
    console = Console()

    def watch(trial: Trial) -> None:
        print_trial(trial, console)

    async with opened(settings) as session:

        async def measure(rate: float) -> Measurement:
            # A seed of its own for each trial: an unlucky moment must not recur in all of them.
            load = open_loop(settings.arrivals, rate=rate, seconds=seconds, seed=settings.seed + search.steps)
            return await _measure(settings, session, load, label=f"{rate:,.1f} requests/s")

        objectives = [parse_objective(text) for text in settings.slo]
        conclusion, trials = await find_capacity(search, objectives, measure, watch=watch)
    return make_capacity_report(conclusion, search.held, trials, settings=settings.model_dump(mode="json"))


async def _measure(settings: Settings, session: Session, load: Load, *, label: str) -> Measurement:
    seconds = settings.warmup + settings.duration
    async with shown(session.tally, Console(stderr=True), label=label, seconds=seconds):
        return await session.measure(load)


def _in_loop(work: Coroutine[Any, Any, T]) -> T:
    # epoll waits in whole milliseconds, select in microseconds: requests leave on time without burning a core.
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        return runner.run(work)


def _write(report: Report | CapacityReport, settings: Settings) -> bool:
    files = ("--json", settings.json_file, to_json), ("--html", settings.html_file, to_html)
    # Each is tried, also after another could not be written.
    written = [_write_file(flag, path, render(report)) for flag, path, render in files if path is not None]
    return all(written)


def _write_file(flag: str, path: Path, content: bytes) -> bool:
    try:
        write_whole(path, content)
    except OSError as error:
        print(f"{flag}: {path}: {error.strerror}", file=sys.stderr)
        return False
    return True
