"""The command line of training: runs a recipe, or hands over to another command. Loads torch only when a run begins."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from bundle.errors import DiscoError
from bundle.sts import data_directory
from train.allocator import use_huge_pages
from train.benchmark.cli import benchmark_command
from train.commands import evaluate_command, recipes_command, report_command
from train.errors import BudgetError
from train.ladder.budget import Budget, parse_latency, parse_size
from train.ladder.cli import ladder_command, recipe_within
from train.ladder.rungs import LADDER
from train.recipe import load_recipe, recipe_path
from train.studies.cli import study_command, study_table_command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (0 fine, 2 a problem of input, told in one message)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    # The hub library reads it when it is imported, which everything heavy below does.
    os.environ.setdefault("HF_HUB_ENABLE_HF_TRANSFER", "1")
    commands = {
        "benchmark": benchmark_command,
        "evaluate": evaluate_command,
        "ladder": ladder_command,
        "recipes": recipes_command,
        "report": report_command,
        "study": study_command,
        "study-table": study_table_command,
    }
    try:
        if arguments and arguments[0] in commands:
            commands[arguments[0]](arguments[1:])
        else:
            _train(arguments)
    except DiscoError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; continue with --resume (a study: with the same command)", file=sys.stderr)
        return 130
    return 0


def _train(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m train",
        description="Distil a teacher into a small student, then finetune it.",
        epilog="Other commands: `python -m train evaluate MODEL_OR_BUNDLE…` scores models, `python -m train recipes` "
        "lists shipped recipes, `python -m train study` compares variants of one, `python -m train ladder BUNDLE…` "
        "measures what finished students cost, `python -m train report STUDENT_OR_BUNDLE` writes a run's HTML report "
        "anew. "
        "Environment: DISCO_DATA (data folder), DISCO_CACHE (teacher vectors and tokens).",
    )
    parser.add_argument(
        "recipe",
        nargs="?",
        help="a recipe file or a shipped recipe's name (default: disco-minilm-l3 where there is data, else demo)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="a.b=VALUE",
        help="override one value of the recipe; may be repeated",
    )
    parser.add_argument(
        "--latency-budget",
        default=None,
        metavar="1ms",
        help="instead of a recipe: the best student of the ladder that needs no more for a text of 16 tokens here",
    )
    parser.add_argument(
        "--size-budget", default=None, metavar="15MB", help="the same by the size of served graph and tokenizer"
    )
    parser.add_argument(
        "--ladder", type=Path, default=LADDER, help="what a budget chooses from (default: what `make ladder` wrote)"
    )
    parser.add_argument("--out", type=Path, required=True, help="where the finished student goes; must not exist")
    parser.add_argument("--data", type=Path, default=None, help="data folder (default: DISCO_DATA or ../shared/data)")
    parser.add_argument("--resume", action="store_true", help="continue the unfinished run of the same --out")
    options = parser.parse_args(arguments)

    data = options.data or data_directory()
    budget = Budget(
        milliseconds=parse_latency(options.latency_budget) if options.latency_budget else None,
        bytes=parse_size(options.size_budget) if options.size_budget else None,
    )
    if budget == Budget():
        name = options.recipe or ("disco-minilm-l3" if data else "demo")
    elif options.recipe is None:
        name = recipe_within(budget, options.ladder)
    else:
        raise BudgetError(f"a budget chooses the recipe: leave out {options.recipe!r}, or the budget")
    recipe = load_recipe(recipe_path(name), options.set)
    use_huge_pages()

    from train.distributed import is_first, process_group  # torch takes seconds to import, --help must not
    from train.stages import train

    with process_group():
        train(recipe, options.out, data=data, resume=options.resume)
        if is_first():
            print(f"student: {options.out}")


if __name__ == "__main__":
    sys.exit(main())
