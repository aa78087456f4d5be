"""What a finished run says of itself: scores, and `training.json` for machines.

The model card is `card`'s, the HTML report `html`'s, reading it all back `record`'s.
"""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from sentence_transformers import SentenceTransformer

from bundle.atomic import write_atomically
from bundle.layout import MODEL_CARD, TRAINING
from bundle.sts import StsScores, evaluate, with_sts
from train import pretraining
from train.cache import folder_identity
from train.checkpoint import HistoryEntry
from train.config import Recipe
from train.evaluate import print_sts
from train.locate import locate_model
from train.report.card import compose_card
from train.report.html import HTML_REPORT, write_html_report
from train.report.teacher_scores import teacher_scores
from train.run_inputs import RunInputs
from train.scoring import encode_texts
from train.student import parameter_count


def write_report(
    folder: Path,
    recipe: Recipe,
    student: SentenceTransformer,
    teachers: Sequence[Path],
    inputs: RunInputs,
    *,
    data: Path | None,
    history: list[HistoryEntry],
) -> None:
    """Score student and teachers on the seven STS tasks (where there is data), print the table, write the files.

    `teachers` are the folders of `recipe.teachers`, the first as it was finetuned where the recipe has that; it is then
    scored as it came, too. `inputs` are those the run was begun with.
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
        "selection": inputs.selection,
        "selections": {"pretrain": pretraining.SELECTION} if recipe.pretrain else {},
        "sts": {name: msgspec.to_builtins(row) for name, row in scores.items()},
        "recipe": recipe.model_dump(mode="json"),
        "data": inputs.data,
        "versions": inputs.versions,
        "history": history,
    }
    write_atomically(folder / TRAINING, msgspec.json.format(msgspec.json.encode(record), indent=2))
    write_atomically(folder / MODEL_CARD, compose_card(recipe, record, scores))
    write_html_report(folder, folder / HTML_REPORT)
