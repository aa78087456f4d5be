"""Scoring finished models or bundles on STS and retrieval. Knows how to open either; knows no training."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from bundle.embedder import Embedder
from bundle.layout import MANIFEST, open_bundle
from bundle.quality import Encode
from bundle.sts import TASKS, StsScores, evaluate
from train.locate import locate_model
from train.retrieval import RetrievalScores, evaluate_retrieval
from train.scoring import encode_texts
from train.teacher import open_model


def open_encode(name: str) -> Encode:
    """A function from texts to vectors for a bundle, a model folder or a hub id.

    Raises:
        BundleError: a damaged bundle.
        ModelError: nothing that can be loaded.
    """
    if (Path(name) / MANIFEST).is_file():
        return Embedder.from_bundle(open_bundle(Path(name)), threads=2).embed
    model = open_model(locate_model(name))
    return lambda texts: encode_texts(model, texts)


class Scores(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one model reaches."""

    sts: StsScores
    retrieval: RetrievalScores | None = None


def evaluate_models(
    names: Sequence[str], data: Path, note: Callable[[str], None], *, retrieval: bool
) -> dict[str, Scores]:
    """The seven STS figures of each model and, when asked for, those of retrieval."""
    scores = {}
    for name in names:
        note(f"evaluating {name}")
        encode = open_encode(name)
        scores[name] = Scores(evaluate(encode, data), evaluate_retrieval(encode, data) if retrieval else None)
    return scores


def print_sts(scores: Mapping[str, StsScores], console: Console) -> None:
    """One row a model: the seven tasks and their mean (Spearman × 100)."""
    table = Table("Spearman × 100", *TASKS, "mean")
    for name, row in scores.items():
        table.add_row(name, *(f"{row.tasks[task]:.2f}" for task in TASKS), f"{row.mean:.2f}")
    console.print(table)


def print_retrieval(scores: Mapping[str, RetrievalScores], console: Console) -> None:
    """One row a model: each task and their mean (nDCG@10 × 100)."""
    tasks = list(next(iter(scores.values())).tasks)
    table = Table("nDCG@10 × 100", *tasks, "mean")
    for name, row in scores.items():
        table.add_row(name, *(f"{row.tasks[task]:.2f}" for task in tasks), f"{row.mean:.2f}")
    console.print(table)
