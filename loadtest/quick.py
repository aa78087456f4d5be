"""A few ratios that a busy machine does not change much, for every commit: `python -m loadtest.quick`.

Server against bare engine and student against teacher, measured in turns within rounds. Knows no other servers.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from loadtest.bare_engine import SCRIPT, open_bare_engine
from loadtest.machine import describe_machine
from loadtest.peers.errors import AbsentError
from loadtest.peers.measure import Load, measure
from loadtest.peers.record import Spread, commit, spread, write
from loadtest.peers.server import serve
from loadtest.peers.systems import OURS, STUDENT, our_systems
from loadtest.peers.texts import make_texts

ONE, MANY = Load(1, 1, "short"), Load(32, 1, "mixed")
_PATIENCE = 60.0


class QuickRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The content of `benchmarks/quick/COMMIT.json`."""

    format: int = 1
    date: str
    commit: str | None
    machine: dict[str, Any]
    command: str
    rounds: int
    seconds: float
    ratios: dict[str, Spread]
    """By name; higher is better for all of them."""


def measure_ratios(teacher: Path, student: Path, engine: Path, *, rounds: int, seconds: float) -> dict[str, Spread]:
    """Measure all, in turns, for `rounds` rounds of six times `seconds`.

    Raises:
        AbsentError: a server does not start.
    """
    texts = make_texts(student / "tokenizer.json", seed=0)
    found: dict[str, list[float]] = {}
    with ExitStack() as running:
        servers = {
            system.name: running.enter_context(serve(system, Path("/dev/null"), patience=_PATIENCE))
            for system in our_systems(teacher, student)
        }
        engines = {
            load: running.enter_context(open_bare_engine(student, texts[load.length].texts, script=engine))
            for load in (ONE, MANY)
        }
        for server in servers.values():
            server.hold()
        for _ in range(rounds):
            figures = {}
            for name, server in servers.items():
                server.resume()
                for load in (ONE, MANY):
                    figures[name, load] = measure(server, load, texts[load.length], seconds=seconds)
                server.hold()
            bare_ms = engines[ONE].seconds_of_one(seconds) * 1e3
            bare_rate = engines[MANY].texts_per_second(seconds)
            one, many = figures[STUDENT, ONE], figures[STUDENT, MANY]
            for name, ratio in {
                "bare engine's time of the server's, 1 client": bare_ms / one.p50_ms,
                "server's throughput of the bare engine's, 32 clients": many.texts_per_second / bare_rate,
                "student's speed of the teacher's, 1 client": figures[OURS, ONE].p50_ms / one.p50_ms,
                "student's throughput of the teacher's, 32 clients": (
                    many.texts_per_second / figures[OURS, MANY].texts_per_second
                ),
            }.items():
                found.setdefault(name, []).append(ratio)
    return {name: summary for name, ratios in found.items() if (summary := spread(ratios))}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write the record of this commit."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="python -m loadtest.quick", description=__doc__)
    parser.add_argument("--teacher", type=Path, default=Path("build/peers/models/bundle"), help="its bundle")
    parser.add_argument("--student", type=Path, default=Path("students/disco-minilm-l3"), help="its bundle")
    parser.add_argument("--engine", type=Path, default=SCRIPT, help="the bare engine")
    parser.add_argument("--rounds", type=int, default=7, help="(default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=2, help="of every measurement (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/quick"), help="folder (default: %(default)s)")
    options = parser.parse_args(words)
    try:
        ratios = measure_ratios(
            options.teacher, options.student, options.engine, rounds=options.rounds, seconds=options.seconds
        )
    except AbsentError as error:
        print(error, file=sys.stderr)
        return 3
    version = commit()
    record = QuickRecord(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=version,
        machine=describe_machine(),
        command=f"python -m loadtest.quick {shlex.join(words)}".strip(),
        rounds=options.rounds,
        seconds=options.seconds,
        ratios=ratios,
    )
    write(record, options.out / f"{version or 'no-commit'}.json")
    for name, ratio in ratios.items():
        print(f"{name:55} {ratio.median:6.3f}  ({ratio.min:.3f}–{ratio.max:.3f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
