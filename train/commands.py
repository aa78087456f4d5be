"""The commands `evaluate`, `recipes` and `report`. Load torch, or what draws, only when they need it."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bundle.atomic import write_atomically
from bundle.sts import data_directory
from train.errors import DataError
from train.recipe import RECIPES


def evaluate_command(arguments: Sequence[str]) -> None:
    """Score models."""
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
    parser.add_argument(
        "--documents-by",
        default=None,
        metavar="TEACHER",
        help="also retrieval where this model has indexed the documents and each MODEL reads the queries",
    )
    parser.add_argument(
        "--dimensions",
        type=int,
        nargs="+",
        default=(),
        metavar="N",
        help="score each model again with only the first N dimensions of its vectors, e.g. 256 128 64",
    )
    parser.add_argument(
        "--prompt",
        default=None,
        metavar="TEXT",
        help="put before every text that a MODEL reads, e.g. 'query: ' (default: the model's own default prompt)",
    )
    parser.add_argument(
        "--documents-prompt",
        default=None,
        metavar="TEXT",
        help="put before the documents of retrieval instead, e.g. 'passage: '; also before those that --documents-by "
        "reads",
    )
    parser.add_argument("--json", type=Path, default=None, help="also write the figures here")
    options = parser.parse_args(arguments)
    if any(dimension < 1 for dimension in options.dimensions):
        parser.error(f"--dimensions {min(options.dimensions)}: at least 1")
    data = options.data or data_directory()
    if data is None:
        raise DataError("no STS data: pass --data or set DISCO_DATA to a folder that holds sts/")

    from rich.console import Console

    from train.evaluate import evaluate_models, print_retrieval, print_sts

    def note(message: str) -> None:
        print(message, file=sys.stderr)

    scores = evaluate_models(
        options.models,
        data,
        note,
        retrieval=options.retrieval,
        dimensions=options.dimensions,
        documents_by=options.documents_by,
        prompt=options.prompt,
        documents_prompt=options.documents_prompt,
    )
    console = Console(width=None if sys.stdout.isatty() else 140)  # a log has no width to respect
    print_sts({name: row.sts for name, row in scores.items()}, console)
    found = {name: row.retrieval for name, row in scores.items()}
    found |= {f"{name}, documents by {options.documents_by}": row.documents_by for name, row in scores.items()}
    if any(found.values()):
        print_retrieval({name: row for name, row in found.items() if row is not None}, console)
    if options.json is not None:
        write_atomically(options.json, msgspec.json.format(msgspec.json.encode(scores), indent=2))


def recipes_command(arguments: Sequence[str]) -> None:
    """List the shipped recipes."""
    argparse.ArgumentParser(prog="python -m train recipes", description="List the shipped recipes.").parse_args(
        arguments
    )
    for path in sorted(RECIPES.glob("*.toml")):
        purpose = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        print(f"{path.stem:24} {purpose}")


def report_command(arguments: Sequence[str]) -> None:
    """Write a run's report anew."""
    parser = argparse.ArgumentParser(
        prog="python -m train report", description="Write the HTML report of a finished student or a bundle anew."
    )
    parser.add_argument("student", type=Path, metavar="STUDENT_OR_BUNDLE", help="a folder with training.json")
    parser.add_argument("--out", type=Path, default=None, help="default: report.html in that folder")
    options = parser.parse_args(arguments)

    from train.report.html import HTML_REPORT, write_html_report  # draws plots, which --help must not wait for

    target = options.out or options.student / HTML_REPORT
    write_html_report(options.student, target)
    print(f"report: {target}")
