"""The command `ladder`, and the choice of a recipe by budget. Loads torch only when bundles are measured."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from bundle.atomic import write_atomically
from bundle.layout import open_bundle
from bundle.sts import data_directory
from train.errors import BudgetError, DataError
from train.ladder.budget import Budget, choose_rung, describe_choice
from train.ladder.rungs import LADDER, REFERENCE, read_ladder, write_ladder

_SHIPPED = Path(__file__).resolve().parents[2] / "students" / REFERENCE


def ladder_command(arguments: Sequence[str]) -> None:
    """Measure finished bundles."""
    parser = argparse.ArgumentParser(
        prog="python -m train ladder",
        description="Measure finished bundles on this machine: latency and throughput on one thread, in turns; size; "
        f"STS and retrieval. {REFERENCE} must be among them; a teacher's bundle may be.",
    )
    parser.add_argument("bundles", type=Path, nargs="+", metavar="BUNDLE", help="folder made by python -m export")
    parser.add_argument("--json", type=Path, default=LADDER, help="where the ladder goes (default: %(default)s)")
    parser.add_argument("--plot", type=Path, default=None, help="also draw quality against latency, as SVG")
    parser.add_argument("--data", type=Path, default=None, help="data folder (default: DISCO_DATA or ../shared/data)")
    options = parser.parse_args(arguments)
    data = options.data or data_directory()
    if data is None:
        raise DataError("a ladder is scored on STS and retrieval: pass --data or set DISCO_DATA")

    # The first loads torch, the second matplotlib.
    from train.ladder.measurement import measure_ladder
    from train.ladder.plot import plot_ladder

    ladder = measure_ladder(options.bundles, data, lambda message: print(message, file=sys.stderr))
    write_ladder(ladder, options.json)
    if options.plot is not None:
        write_atomically(options.plot, plot_ladder(ladder))
    for rung in ladder.rungs:
        print(
            f"{rung.name:24} {rung.latency_ms:7.3f} ms ({rung.latency_ratio:5.2f} ×)  {rung.bytes / 1e6:6.1f} MB  "
            f"STS {rung.sts.mean:.2f}  retrieval {rung.retrieval.mean:.2f}"
        )


def recipe_within(budget: Budget, ladder_file: Path) -> str:
    """The name of the shipped recipe whose student is the best within `budget`; says why in one line.

    Raises:
        LadderError: there is no ladder yet.
        BudgetError: nothing fits, or several processes would each measure a latency of their own.
    """
    ladder = read_ladder(ladder_file)
    reference_ms = None
    if budget.milliseconds is not None:
        if os.environ.get("WORLD_SIZE", "1") != "1":
            raise BudgetError(
                "several processes could each choose another student: let one choose by --latency-budget, then start "
                "its recipe by name"
            )
        from train.ladder.measurement import measure_latency  # loads torch

        reference_ms = measure_latency(open_bundle(_SHIPPED))
    choice = choose_rung(ladder, budget, reference_ms=reference_ms)
    measured = "" if reference_ms is None else f"; {REFERENCE} takes {reference_ms:.3g} ms here"
    print(f"{describe_choice(choice, budget)}{measured}")
    return choice.rung.name
