"""What a finished run says of itself: `training.json` for machines, `README.md` (the model card) for people."""

import datetime as dt
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from sentence_transformers import SentenceTransformer

from bundle.atomic import write_atomically
from bundle.layout import MODEL_CARD, TRAINING, sha256_of
from bundle.sts import TASKS, StsScores, evaluate
from train.cache import folder_identity, source_identity
from train.checkpoint import HistoryEntry
from train.config import Recipe
from train.data import HUB, resolve
from train.evaluate import print_table
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
    """Score student and teacher on the seven STS tasks (where there is data), print the table, write both files."""
    scores: dict[str, StsScores] = {}
    if data is not None:
        scores["student"] = evaluate(lambda texts: encode_texts(student, texts), data)
        teacher_model = open_model(teacher)
        scores["teacher"] = evaluate(lambda texts: encode_texts(teacher_model, texts), data)
        print_table(scores, Console(width=120))
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
    write_atomically(folder / MODEL_CARD, _card(recipe, record, scores))


def _data_identities(recipe: Recipe, data: Path | None) -> dict[str, Any]:
    """SHA-256 of every file the run read, by the recipe's path."""
    identities: dict[str, Any] = {texts.path: source_identity(texts, data) for texts in recipe.distil.texts}
    for pairs in recipe.finetune.pairs if recipe.finetune else ():
        if not pairs.path.startswith((HUB, "builtin:")):
            identities[pairs.path] = {"sha256": sha256_of(resolve(pairs.path, data))}
    return identities


def _card(recipe: Recipe, record: dict[str, Any], scores: dict[str, StsScores]) -> str:
    teacher = record["teacher"]
    finetuned = f", then finetuned on {_paths(recipe.finetune.pairs)}" if recipe.finetune else ""
    sharing = (
        " The upper half of its layers shares the lower half's weights, query and key swapped (Pea-KD); the files hold "
        "them twice, so that any library can open them."
        if recipe.student.share_layers
        else ""
    )
    return f"""---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
license: {recipe.license}
language: en
base_model: {teacher}
base_model_relation: finetune
tags: [sentence-transformers, feature-extraction, distillation]
---

# {recipe.name}

A sentence-embedding model of {record["parameters"]:,} parameters, distilled from `{teacher}` by the method of DisCo /
DistilCSE (arXiv 2112.05638; objectives {_objectives(recipe)}) on {_paths(recipe.distil.texts)}{finetuned}.{sharing}

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("{recipe.name}")  # the folder of this card
print(model.similarity(*model.encode(["A child reads a book.", "A kid is reading."])))
```

## Evaluation

{_table(scores)}

The checkpoint was selected by {record["selection"]}. `training.json` holds the whole recipe, data hashes, versions
and the training history.
"""


def _objectives(recipe: Recipe) -> str:
    weights = recipe.distil.objectives.weights
    return " + ".join(f"{weight:g} × {name}" for name, weight in weights.items() if weight)


def _paths(sources: tuple[Any, ...]) -> str:
    return ", ".join(f"`{source.path}`" for source in sources)


def _table(scores: dict[str, StsScores]) -> str:
    if not scores:
        return "No STS data was at hand when this model was trained."
    lines = [f"| model | {' | '.join(TASKS)} | mean |", "|---|" + "---|" * (len(TASKS) + 1)]
    for name, row in scores.items():
        lines.append(f"| {name} | {' | '.join(f'{row.tasks[task]:.2f}' for task in TASKS)} | **{row.mean:.2f}** |")
    return 'Spearman × 100 of cosine similarities, SentEval\'s "all" protocol, float32.\n\n' + "\n".join(lines)
