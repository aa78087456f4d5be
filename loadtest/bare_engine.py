"""A process that embeds without a server, to compare servers with. Knows the script's questions, not how it embeds."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SCRIPT = Path("benchmarks/bare_engine.py")


class BareEngine:
    """Measures when asked, and computes nothing otherwise."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def take(self, texts: Sequence[str]) -> None:
        """Say which texts are to be embedded; returns when the engine is open."""
        self._ask(list(texts))

    def seconds_of_one(self, seconds: float) -> float:
        """The median time of tokenising and embedding one text on one thread, after `seconds` of that."""
        return float(self._ask(["one", seconds]))

    def texts_per_second(self, seconds: float) -> float:
        """What one thread per core embeds, after `seconds` of that."""
        return float(self._ask(["all", seconds]))

    def _ask(self, question: object) -> Any:
        """One line there, one line back; both JSON."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@contextmanager
def open_bare_engine(bundle: Path, texts: Sequence[str], *, script: Path = SCRIPT) -> Iterator[BareEngine]:
    """Start `script` with `bundle`, for these texts; it ends with the context."""
    command: list[str | Path] = [sys.executable, script, bundle]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        engine = BareEngine(process)
        try:
            engine.take(texts)
            yield engine
        finally:
            process.kill()
