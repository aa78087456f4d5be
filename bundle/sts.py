"""The seven STS benchmarks: where their files lie and the SentEval "all" protocol. Knows no model.

Per task the cosines of all pairs of the file are ranked at once against the gold scores (Spearman × 100); the
headline is the unweighted mean of the seven (Gao et al. 2021, SimCSE, appendix B).
"""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from bundle.errors import DataError
from bundle.quality import Encode, cosine, spearman

TASKS = {
    "STS12": "STS12.all",
    "STS13": "STS13.all",
    "STS14": "STS14.all",
    "STS15": "STS15.all",
    "STS16": "STS16.all",
    "STSB": "STSB.test",
    "SICK": "SICK.test",
}
SELECTION = "STSB.dev"
"""The only set on which a student may be selected."""


class Pair(msgspec.Struct):
    """Two sentences and how alike people found them."""

    sentence1: str
    sentence2: str
    score: float


class StsScores(msgspec.Struct, frozen=True):
    """Spearman × 100 per task, and their mean."""

    tasks: dict[str, float]
    mean: float


def data_directory() -> Path | None:
    """`DISCO_DATA` where it is set, else `../shared/data` beside the checkout where that exists, else None.

    An empty `DISCO_DATA` means none, whatever lies beside the checkout.

    Raises:
        DataError: `DISCO_DATA` is set to a folder that does not exist.
    """
    configured = os.environ.get("DISCO_DATA")
    if configured == "":
        return None
    if configured is not None:
        if not Path(configured).is_dir():
            raise DataError(f"DISCO_DATA={configured} is not a folder; unset it or point it at the data")
        return Path(configured)
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    return beside if beside.is_dir() else None


def with_sts(data: Path | None) -> Path | None:
    """`data` where it holds STS files; somebody's own text may come without."""
    return data if data is not None and (data / "sts").is_dir() else None


def evaluate(encode: Encode, data: Path) -> StsScores:
    """Score a model on the seven tasks under `data`/sts.

    Raises:
        DataError: a file is missing or malformed.
    """
    scores = {task: score(encode, data, name) for task, name in TASKS.items()}
    return StsScores(tasks=scores, mean=float(np.mean(list(scores.values()))))


def score(encode: Encode, data: Path, name: str) -> float:
    """Spearman × 100 on one file, e.g. `STSB.dev`."""
    pairs = read_pairs(data, name)
    # Sentences recur across pairs: each is embedded once.
    distinct = {text: row for row, text in enumerate(dict.fromkeys(_texts(pairs)))}
    vectors = encode(list(distinct))
    left = vectors[[distinct[pair.sentence1] for pair in pairs]]
    right = vectors[[distinct[pair.sentence2] for pair in pairs]]
    return 100 * spearman(cosine(left, right), [pair.score for pair in pairs])


def read_pairs(data: Path, name: str) -> list[Pair]:
    """The pairs of `data`/sts/`name`.jsonl.

    Raises:
        DataError: the file is missing, empty, or a line is not a pair; the message names the line.
    """
    path = data / "sts" / f"{name}.jsonl"
    if not path.is_file():
        raise DataError(f"{path} is missing; set DISCO_DATA to a folder that has sts/{name}.jsonl")
    pairs = list(_decoded_lines(path))
    if not pairs:
        raise DataError(f"{path} has no pairs")
    return pairs


def _decoded_lines(path: Path) -> Iterator[Pair]:
    decoder = msgspec.json.Decoder(Pair)
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield decoder.decode(line)
            except msgspec.DecodeError as error:
                raise DataError(f"{path}, line {number}: {error}") from error
            except UnicodeDecodeError as error:
                # Without the cause, which would carry the text.
                raise DataError(f"{path}, line {number}: not UTF-8: {error.reason}") from None


def _texts(pairs: list[Pair]) -> Iterator[str]:
    for pair in pairs:
        yield pair.sentence1
        yield pair.sentence2
