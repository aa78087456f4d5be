"""Scoring a finished model or bundle on the seven STS tasks. Knows how to open either; knows no training."""

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bundle.embedder import Embedder
from bundle.layout import MANIFEST, open_bundle
from bundle.quality import Encode
from bundle.sts import TASKS, StsScores, evaluate
from train.locate import locate_model
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


def evaluate_models(names: Sequence[str], data: Path, note: Callable[[str], None]) -> dict[str, StsScores]:
    """The seven figures of each model."""
    scores = {}
    for name in names:
        note(f"evaluating {name}")
        scores[name] = evaluate(open_encode(name), data)
    return scores


def print_table(scores: dict[str, StsScores], console: Console) -> None:
    """One row a model: the seven tasks and their mean (Spearman × 100)."""
    table = Table("model", *TASKS, "mean")
    for name, row in scores.items():
        table.add_row(name, *(f"{row.tasks[task]:.2f}" for task in TASKS), f"{row.mean:.2f}")
    console.print(table)
