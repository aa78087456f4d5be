"""What a finished run says of itself: scores, and `training.json` for machines.

The model card is `card`'s, the HTML report `html`'s, reading it all back `record`'s.
"""

import datetime as dt
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from sentence_transformers import SentenceTransformer

from bundle.atomic import write_atomically
from bundle.layout import MODEL_CARD, TRAINING, sha256_of
from bundle.provenance import versions
from bundle.sts import StsScores, evaluate, with_sts
from train import pretraining
from train.cache import folder_identity, source_identity
from train.checkpoint import HistoryEntry
from train.config import Recipe
from train.data import HUB, resolve
from train.evaluate import print_sts
from train.locate import locate_model
from train.report.card import compose_card
from train.report.html import HTML_REPORT, write_html_report
from train.report.teacher_scores import teacher_scores
from train.scoring import encode_texts
from train.student import parameter_count

_LIBRARIES = ("torch", "transformers", "sentence-transformers", "tokenizers", "numpy")


def write_report(
    folder: Path,
    recipe: Recipe,
    student: SentenceTransformer,
    teachers: Sequence[Path],
    *,
    data: Path | None,
    selection: str,
    history: list[HistoryEntry],
) -> None:
    """Score student and teachers on the seven STS tasks (where there is data), print the table, write the files.

    `teachers` are the folders of `recipe.teachers`, the first as it was finetuned where the recipe has that; it is then
    scored as it came, too.
    """
    scores: dict[str, StsScores] = {}
    if (sts := with_sts(data)) is not None:
        scores["student"] = evaluate(lambda texts: encode_texts(student, texts), sts)
        if recipe.teacher.finetune is not None:
            scores["finetuned teacher"] = teacher_scores(recipe.teachers, teachers, sts)
        as_they_came = [locate_model(recipe.teacher.model), *teachers[1:]]
        scores["teacher"] = teacher_scores(recipe.teachers, as_they_came, sts)
        print_sts(scores, Console(width=120))
    record = {
        "name": recipe.name,
        "teacher": " + ".join(teacher.title for teacher in recipe.teachers),
        "teachers": [
            {"name": config.title, "identity": folder_identity(folder)}
            for config, folder in zip(recipe.teachers, teachers, strict=True)
        ],
        "finished": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "parameters": parameter_count(student),
        "selection": selection,
        "selections": {"pretrain": pretraining.SELECTION} if recipe.pretrain else {},
        "sts": {name: msgspec.to_builtins(row) for name, row in scores.items()},
        "recipe": recipe.model_dump(mode="json"),
        "data": _data_identities(recipe, data),
        "versions": versions(_LIBRARIES),
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
