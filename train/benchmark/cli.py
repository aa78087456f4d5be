"""The command `benchmark`. Loads torch only when one begins."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from bundle.sts import data_directory
from train.recipe import load_recipe, recipe_path


def benchmark_command(arguments: Sequence[str]) -> None:
    """Measure and write the record."""
    parser = argparse.ArgumentParser(
        prog="python -m train benchmark",
        description="How many sentences a second our training loop and our teacher make, against those of "
        "sentence-transformers: same student, teacher vectors and texts, in turns, each in a process of its own. Takes "
        "minutes and wants a machine that does nothing else.",
    )
    parser.add_argument(
        "recipe",
        nargs="?",
        help="gives the first teacher, student, batch size, length and, by its first source, texts (default: "
        "disco-minilm-l3 where there is data, else demo)",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="a.b=VALUE", help="override one value of the recipe"
    )
    parser.add_argument("--sentences", type=_positive, default=1536, help="in one measurement (default: %(default)s)")
    parser.add_argument("--rounds", type=_positive, default=3, help="measurements of each (default: %(default)s)")
    parser.add_argument("--data", type=Path, default=None, help="data folder (default: DISCO_DATA or ../shared/data)")
    parser.add_argument(
        "--json", type=Path, default=Path("benchmarks/train.json"), help="where it is written (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    data = options.data or data_directory()
    recipe = load_recipe(recipe_path(options.recipe or ("disco-minilm-l3" if data else "demo")), options.set)

    from train.benchmark.run import run_benchmark  # torch takes seconds to import, --help must not

    run_benchmark(recipe, options.json, data=data, sentences=options.sentences, rounds=options.rounds)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number
