"""What a person sees while a run goes on: a bar on a terminal, a line now and then in a log. Knows no tensors."""

import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars


class Progress:
    """One bar at a time, on standard error, so that results on standard output can be piped."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(file=sys.stderr, highlight=False, quiet=quiet)
        self._bars: Bars | None = None
        self._task: TaskID | None = None

    def note(self, message: str) -> None:
        """Print one line."""
        self._console.print(message)

    def start(self, name: str, *, total: int, done: int = 0) -> None:
        """Begin a bar of `total` steps of which `done` are over."""
        self.stop()
        self._bars = Bars(
            TextColumn("{task.description:>10}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._bars.start()
        self._task = self._bars.add_task(name, total=total, completed=done, figures="")

    def advance(self, steps: int, figures: str = "") -> None:
        """Move the bar by `steps` and show `figures` beside it."""
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, advance=steps, figures=figures)

    def stop(self) -> None:
        """Take the bar away."""
        if self._bars is not None:
            self._bars.stop()
        self._bars = self._task = None
