"""The model card: a finished run told to people. Knows the recipe and the figures; measures nothing."""

from typing import Any

from bundle.sts import TASKS, StsScores
from train.config import Recipe
from train.sources import Pairs, Texts


def compose_card(recipe: Recipe, record: dict[str, Any], scores: dict[str, StsScores]) -> str:
    """The text of README.md: what the model is, what it was made from, how good it is."""
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
base_model: {_base_models(recipe)}
base_model_relation: finetune
tags: [sentence-transformers, feature-extraction, distillation]
---

# {recipe.name}

A sentence-embedding model of {record["parameters"]:,} parameters, {_making(recipe, record)}.{sharing}

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("{recipe.name}")  # the folder of this card
print(model.similarity(*model.encode(["A child reads a book.", "A kid is reading."])))
```

## Evaluation

{_scores(scores)}

The checkpoint was selected by {record["selection"]}. `training.json` holds the whole recipe, data hashes, versions
and the training history.

## Data

{_sources(recipe)}
"""


def _base_models(recipe: Recipe) -> str:
    """One name, or a list of YAML where there are several."""
    names = ", ".join(teacher.title for teacher in recipe.teachers)
    return f"[{names}]" if recipe.more_teachers else names


def _making(recipe: Recipe, record: dict[str, Any]) -> str:
    finetuned = "finetuned contrastively on labelled pairs"
    if recipe.distil is None:
        return f"{finetuned} from a student that existed already"
    weights = recipe.distil.objectives.weights
    objectives = " + ".join(f"{weight:g} × {name}" for name, weight in weights.items() if weight)
    first, *others = (f"`{teacher.title}`" for teacher in recipe.teachers)
    prepared = " (itself finetuned on labelled pairs first)" if recipe.teacher.finetune else ""
    teachers = " and ".join([first + prepared, *others]) + (", side by side," if others else "")
    pretrained = "pretrained on what its teacher makes of labelled triplets (after Pea-KD), " if recipe.pretrain else ""
    kept = (
        " (no checkpoint of that scored better: the distilled weights were kept)" if _kept_start(recipe, record) else ""
    )
    return (
        f"{pretrained}distilled from {teachers} by the method of DisCo /\n"
        f"DistilCSE (arXiv 2112.05638; objectives {objectives}) "
        f"on unlabelled text{f', then {finetuned}{kept}' if recipe.finetune else ''}"
    )


def _kept_start(recipe: Recipe, record: dict[str, Any]) -> bool:
    """Whether finetuning ended with the weights it began with."""
    scores = [entry["score"] for entry in record["history"] if entry["stage"] == "finetune"]
    return recipe.finetune is not None and recipe.finetune.keep == "best" and max(scores) == scores[0]


def _sources(recipe: Recipe) -> str:
    lines = ["| source | used for | licence |", "|---|---|---|"]
    for texts in recipe.distil.texts if recipe.distil else ():
        amount = f"distilling, first {texts.limit:,} texts" if texts.limit else "distilling"
        lines.append(f"| `{texts.path}` | {amount}{_edits(texts)} | {texts.license or 'not stated'} |")
    for use, sources in recipe.pairs.items():
        for pairs in sources:
            parts = f" ({', '.join(pairs.sources)})" if pairs.sources else ""
            lines.append(f"| `{pairs.path}`{parts} | {use}{_edits(pairs)} | {pairs.license or 'not stated'} |")
    return "\n".join(lines)


def _edits(source: Texts | Pairs) -> str:
    return ", with edited copies of them" if source.edits else ""


def _scores(scores: dict[str, StsScores]) -> str:
    if not scores:
        return "No STS data was at hand when this model was trained."
    lines = [f"| model | {' | '.join(TASKS)} | mean |", "|---|" + "---|" * (len(TASKS) + 1)]
    for name, row in scores.items():
        lines.append(f"| {name} | {' | '.join(f'{row.tasks[task]:.2f}' for task in TASKS)} | **{row.mean:.2f}** |")
    return 'Spearman × 100 of cosine similarities, SentEval\'s "all" protocol, float32.\n\n' + "\n".join(lines)
