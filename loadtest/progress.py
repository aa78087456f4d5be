"""A line on the terminal that tells how far a run is; nothing where there is no terminal. Knows no results."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from loadtest.tally import Tally

_REFRESH = 0.5
"""Seconds; drawing the line takes a millisecond in which no request leaves."""


@asynccontextmanager
async def shown(tally: Tally, console: Console, *, label: str, seconds: float) -> AsyncIterator[None]:
    """Keep a line up to date while the block runs, and take it away afterwards."""
    if not console.is_terminal:
        yield
        return
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[done]}"),
        console=console,
        auto_refresh=False,  # a thread of its own would wake whenever it likes
        transient=True,
    )
    with progress:
        task = progress.add_task(label, total=seconds, done="")
        drawing = asyncio.create_task(_keep_drawing(progress, task, tally))
        try:
            yield
        finally:
            drawing.cancel()


def describe(tally: Tally) -> str:
    """What stands behind the bar."""
    failed = f", [red]{tally.failed:,} failed[/]" if tally.failed else ""
    return f"{tally.finished:,} answered, {tally.under_way:,} under way{failed}"


async def _keep_drawing(progress: Progress, task: TaskID, tally: Tally) -> None:
    start = asyncio.get_running_loop().time()
    while True:
        elapsed = asyncio.get_running_loop().time() - start
        progress.update(task, completed=elapsed, done=describe(tally), refresh=True)
        await asyncio.sleep(_REFRESH)
