"""The command `benchmark`: times engines on a model, whole and with fewer layers. Loads torch only when it begins."""

import argparse
from collections.abc import Sequence
from pathlib import Path

_ROUNDS = 15


def benchmark_command(arguments: Sequence[str]) -> None:
    """Measure, print and write the record."""
    parser = argparse.ArgumentParser(
        prog="python -m export benchmark",
        description="How many tokens a second every engine at hand makes of a model on one thread, in turns, beside "
        "the bare matrix products. Takes minutes and wants a machine that does nothing else.",
    )
    parser.add_argument("model", help="a transformer of sentence-transformers: folder, hub id or package:NAME/FOLDER")
    parser.add_argument("--name", default=None, help="what the model is called in the record (default: its folder)")
    parser.add_argument(
        "--layers",
        type=int,
        nargs="+",
        default=[],
        metavar="N",
        help="also measure what is left of the model with only these layers, e.g. 0 2 5",
    )
    parser.add_argument("--layers-name", default="with fewer layers", help="what that is called in the record")
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help="turns of every engine (default: %(default)s)")
    parser.add_argument(
        "--json", type=Path, default=Path("benchmarks/engine.json"), help="where it is written (default: %(default)s)"
    )
    options = parser.parse_args(arguments)

    from export.benchmark.run import run_benchmark  # torch takes seconds to import, --help must not

    run_benchmark(
        options.model,
        options.json,
        name=options.name,
        layers=options.layers,
        layers_name=options.layers_name,
        rounds=options.rounds,
        command=f"python -m export benchmark {' '.join(arguments)}",
    )
