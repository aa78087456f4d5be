"""The command `python -m loadtest.merge`: latencies of several runs' reports as if they had been one run."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from loadtest.histogram import Histogram, merge

RANKS = (50, 90, 95, 99, 99.9, 100)


class _Report(msgspec.Struct):
    latency_histogram: Histogram


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the percentiles of all reports together; returns 1 where one cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.merge", description=__doc__)
    parser.add_argument("reports", nargs="+", type=Path, help="files that --json wrote")
    try:
        merged = merge(_histogram(path) for path in parser.parse_args(arguments).reports)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{merged.total:,} requests succeeded")
    for rank in RANKS if merged.total else ():
        print(f"p{rank:<5g} {merged.percentile(rank):.2f} ms")
    return 0


def _histogram(path: Path) -> Histogram:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Report).latency_histogram
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise ValueError(f"{path} is not a report of one run: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
