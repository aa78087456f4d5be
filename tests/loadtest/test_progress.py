import asyncio
import io

import pytest
from rich.console import Console

from loadtest.progress import describe, shown
from loadtest.tally import Tally


@pytest.mark.parametrize("terminal", [True, False])
def test_a_line_is_shown_on_a_terminal_and_nowhere_else(terminal: bool) -> None:
    async def scenario() -> None:
        async with shown(Tally(sent=9, finished=7), console, label="embed", seconds=1):
            await asyncio.sleep(0)

    console = Console(file=io.StringIO(), force_terminal=terminal, width=120)
    asyncio.run(scenario())
    assert isinstance(console.file, io.StringIO)
    assert ("7 answered, 2 under way" in console.file.getvalue()) == terminal


def test_failures_are_told() -> None:
    assert "failed" not in describe(Tally(sent=1, finished=1))
    assert "1,200 failed" in describe(Tally(sent=2_000, finished=1_500, failed=1_200))
