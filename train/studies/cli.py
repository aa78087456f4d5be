"""The commands `study` and `study-table`. Loads torch only when a study begins."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from bundle.sts import data_directory
from train.allocator import use_huge_pages
from train.errors import DataError
from train.studies.study import STUDIES, load_study, study_path


def study_command(arguments: Sequence[str]) -> None:
    """Run a study, or list what there is."""
    parser = argparse.ArgumentParser(
        prog="python -m train study",
        description="Train variants of one recipe under one equal budget and score each. The same command goes on "
        "after an interruption; processes that share an --out share the work.",
    )
    parser.add_argument("study", nargs="?", help="a study file or a shipped study's name")
    parser.add_argument("--out", type=Path, help="folder for a student and a row of figures a variant")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="a.b=VALUE",
        help="override one value of every recipe, where the variant itself does not; may be repeated",
    )
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="only these variants, and what they need")
    parser.add_argument("--data", type=Path, default=None, help="data folder (default: DISCO_DATA or ../shared/data)")
    parser.add_argument("--list", action="store_true", help="list the study's variants, or all studies, and stop")
    options = parser.parse_args(arguments)
    if options.list:
        _list(options.study, options.set)
        return
    if options.study is None or options.out is None:
        parser.error("a study and --out are needed (or --list)")
    data = options.data or data_directory()
    if data is None:
        raise DataError("a study is scored on STS and retrieval: pass --data or set DISCO_DATA")
    study = load_study(study_path(options.study), options.set)

    use_huge_pages()
    from train.studies.run import run_study  # torch takes seconds to import, --help must not

    run_study(study, options.out, data=data, only=options.only)


def study_table_command(arguments: Sequence[str]) -> None:
    """Collect the rows of a study."""
    parser = argparse.ArgumentParser(
        prog="python -m train study-table",
        description="Print the rows of a study as a Markdown table and write them, with a plot, to a folder.",
    )
    parser.add_argument("study", help="a study file or a shipped study's name")
    parser.add_argument("folders", type=Path, nargs="+", metavar="DIR", help="what was --out of the study")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("benchmarks/studies"),
        help="for STUDY.json and STUDY.svg (default: %(default)s)",
    )
    options = parser.parse_args(arguments)

    from train.studies.table import collect_rows, markdown, write_comparison  # loads matplotlib

    comparison = collect_rows(load_study(study_path(options.study)), options.folders)
    write_comparison(comparison, options.out)
    print(markdown(comparison))


def _list(name: str | None, overrides: Sequence[str]) -> None:
    if name is None:
        for path in sorted(STUDIES.glob("*.toml")):
            study = load_study(path)
            print(f"{study.name:14} {study.title}")
        return
    study = load_study(study_path(name), overrides)
    print(f"{study.title}\n{study.purpose}\n\nall: {study.base} {' '.join(study.common)}")
    for variant, made in study.variants.items():
        origin = [f"from {made.changes.parent}"] if made.changes.parent else []
        print(f"{variant:24} {' '.join([*origin, *made.changes.set])}")
