"""Real servers under real load; every test takes minutes and leaves its figures in benchmarks/acceptance."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.acceptance.machine import write_figures

Record = Callable[[str, dict[str, Any]], None]


@pytest.fixture
def record(capsys: pytest.CaptureFixture[str]) -> Record:
    """Write figures to a file and show them, also when the test passes."""

    def write(name: str, figures: dict[str, Any]) -> None:
        document = write_figures(name, figures)
        with capsys.disabled():
            print(f"\n{name}: {document}", end="")

    return write
