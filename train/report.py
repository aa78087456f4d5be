"""What a finished run says of itself: scores, and `training.json` for machines.

The model card is `train.card`'s, the HTML report `train.html_report`'s, reading it all back `train.record`'s.
"""

import datetime as dt
import platform
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from sentence_transformers import SentenceTransformer

from bundle.atomic import write_atomically
from bundle.layout import MODEL_CARD, TRAINING, sha256_of
from bundle.sts import StsScores, evaluate, with_sts
from train.cache import folder_identity, source_identity
from train.card import compose_card
from train.checkpoint import HistoryEntry
from train.config import Recipe
from train.data import HUB, resolve
from train.evaluate import print_sts
from train.html_report import HTML_REPORT, write_html_report
from train.scoring import encode_texts
from train.student import parameter_count
from train.teacher import open_model

_LIBRARIES = ("torch", "transformers", "sentence-transformers", "tokenizers", "numpy")


def write_report(
    folder: Path,
    recipe: Recipe,
    student: SentenceTransformer,
    teacher: Path,
    *,
    data: Path | None,
    selection: str,
    history: list[HistoryEntry],
) -> None:
    """Score student and teacher on the seven STS tasks (where there is data), print the table, write the files."""
    scores: dict[str, StsScores] = {}
    if (sts := with_sts(data)) is not None:
        scores["student"] = evaluate(lambda texts: encode_texts(student, texts), sts)
        teacher_model, prompt = open_model(teacher), recipe.teacher.prompt
        scores["teacher"] = evaluate(lambda texts: encode_texts(teacher_model, texts, prompt=prompt), sts)
        print_sts(scores, Console(width=120))
    record = {
        "name": recipe.name,
        "teacher": recipe.teacher.name or recipe.teacher.model,
        "teacher_identity": folder_identity(teacher),
        "finished": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "parameters": parameter_count(student),
        "selection": selection,
        "sts": {name: msgspec.to_builtins(row) for name, row in scores.items()},
        "recipe": recipe.model_dump(mode="json"),
        "data": _data_identities(recipe, data),
        "versions": {library: version(library) for library in _LIBRARIES} | {"python": platform.python_version()},
        "history": history,
    }
    write_atomically(folder / TRAINING, msgspec.json.format(msgspec.json.encode(record), indent=2))
    write_atomically(folder / MODEL_CARD, compose_card(recipe, record, scores))
    write_html_report(folder, folder / HTML_REPORT)


def _data_identities(recipe: Recipe, data: Path | None) -> dict[str, Any]:
    """SHA-256 of every file the run read, by the recipe's path."""
    texts = recipe.distil.texts if recipe.distil else ()
    identities: dict[str, Any] = {source.path: source_identity(source, data) for source in texts}
    for pairs in chain.from_iterable(recipe.pairs.values()):
        if not pairs.path.startswith((HUB, "builtin:")):
            identities[pairs.path] = {"sha256": sha256_of(resolve(pairs.path, data))}
    return identities
