"""The command line of training: run a recipe, report on it, evaluate models, list recipes.

Loads torch only when a run or an evaluation begins.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bundle.atomic import write_atomically
from bundle.errors import DiscoError
from bundle.sts import data_directory
from train.errors import DataError
from train.recipe import RECIPES, load_recipe, recipe_path
from train.study_cli import study_command, study_table_command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (0 fine, 2 a problem of input, told in one message)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    # The hub library reads it when it is imported, which everything heavy below does.
    os.environ.setdefault("HF_HUB_ENABLE_HF_TRANSFER", "1")
    commands = {
        "evaluate": _evaluate,
        "recipes": _recipes,
        "report": _report,
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
        "lists shipped recipes, `python -m train study` compares variants of one, "
        "`python -m train report STUDENT_OR_BUNDLE` writes a run's HTML report anew. "
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
    parser.add_argument("--out", type=Path, required=True, help="where the finished student goes; must not exist")
    parser.add_argument("--data", type=Path, default=None, help="data folder (default: DISCO_DATA or ../shared/data)")
    parser.add_argument("--resume", action="store_true", help="continue the unfinished run of the same --out")
    options = parser.parse_args(arguments)

    data = options.data or data_directory()
    name = options.recipe or ("disco-minilm-l3" if data else "demo")
    recipe = load_recipe(recipe_path(name), options.set)

    from train.stages import train  # torch takes seconds to import, --help must not

    train(recipe, options.out, data=data, resume=options.resume)
    print(f"student: {options.out}")


def _evaluate(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m train evaluate",
        description="Score models or bundles on the seven STS tasks (Spearman × 100), and on retrieval when asked to.",
    )
    parser.add_argument(
        "models", nargs="+", metavar="MODEL_OR_BUNDLE", help="bundle, model folder, package:NAME/FOLDER or hub id"
    )
    parser.add_argument(
        "--data", type=Path, default=None, help="folder with sts/ (default: DISCO_DATA or ../shared/data)"
    )
    parser.add_argument(
        "--retrieval", action="store_true", help="also held-back question → answer and title → passage (nDCG@10 × 100)"
    )
    parser.add_argument("--json", type=Path, default=None, help="also write the figures here")
    options = parser.parse_args(arguments)
    data = options.data or data_directory()
    if data is None:
        raise DataError("no STS data: pass --data or set DISCO_DATA to a folder that holds sts/")

    from rich.console import Console

    from train.evaluate import evaluate_models, print_retrieval, print_sts

    def note(message: str) -> None:
        print(message, file=sys.stderr)

    scores = evaluate_models(options.models, data, note, retrieval=options.retrieval)
    console = Console(width=None if sys.stdout.isatty() else 140)  # a log has no width to respect
    print_sts({name: row.sts for name, row in scores.items()}, console)
    if found := {name: row.retrieval for name, row in scores.items() if row.retrieval is not None}:
        print_retrieval(found, console)
    if options.json is not None:
        write_atomically(options.json, msgspec.json.format(msgspec.json.encode(scores), indent=2))


def _recipes(arguments: Sequence[str]) -> None:
    argparse.ArgumentParser(prog="python -m train recipes", description="List the shipped recipes.").parse_args(
        arguments
    )
    for path in sorted(RECIPES.glob("*.toml")):
        purpose = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        print(f"{path.stem:24} {purpose}")


def _report(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m train report", description="Write the HTML report of a finished student or a bundle anew."
    )
    parser.add_argument("student", type=Path, metavar="STUDENT_OR_BUNDLE", help="a folder with training.json")
    parser.add_argument("--out", type=Path, default=None, help="default: report.html in that folder")
    options = parser.parse_args(arguments)

    from train.html_report import HTML_REPORT, write_html_report  # draws plots, which --help must not wait for

    target = options.out or options.student / HTML_REPORT
    write_html_report(options.student, target)
    print(f"report: {target}")


if __name__ == "__main__":
    sys.exit(main())
