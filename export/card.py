"""The bundle's model card: the student's own, with front matter completed and an evaluation of the graphs added."""

from pathlib import Path
from typing import cast

import msgspec
import yaml  # type: ignore[import-untyped]  # PyYAML ships no types
from huggingface_hub import ModelCard, ModelCardData

from bundle.layout import MODEL_CARD, TRAINING
from bundle.sts import TASKS
from export.errors import DamagedStudentError
from export.report import Quality
from export.source import Student, decode

_SECTION = "## ONNX bundle"
_NO_FRONT_MATTER = "---\n{}\n---\n"
_NO_PROSE = "# {name}\n\nA sentence-embedding model."


class _Training(msgspec.Struct):
    teacher: str | None = None


def read_card(student: Student) -> ModelCard:
    """The student's model card, or an empty one where it has none.

    Raises:
        DamagedStudentError: its front matter is not valid YAML.
    """
    file = student.path / MODEL_CARD
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    if not text.startswith("---"):
        text = _NO_FRONT_MATTER + text
    try:
        return ModelCard(text)
    except (ValueError, TypeError, yaml.YAMLError) as error:
        raise DamagedStudentError(f"{file}: its front matter cannot be read: {error}") from error


def teacher_of(student: Student, card: ModelCard) -> str | None:
    """Which model the student was distilled from, as `training.json` or else the card's `base_model` says."""
    record = student.path / TRAINING
    teacher = decode(record, _Training).teacher if record.is_file() else None
    base_model = _metadata(card).base_model
    if teacher is None and isinstance(base_model, str):
        teacher = base_model
    return _without_folders(teacher) if teacher else None


def compose_card(
    student: Student, card: ModelCard, quality: Quality, sizes: dict[str, int], *, teacher: str | None
) -> str:
    """The text of the bundle's README.md; `sizes` are the graphs' bytes by path, the preferred one first."""
    metadata = _metadata(card)
    metadata.library_name = "sentence-transformers"
    metadata.pipeline_tag = metadata.pipeline_tag or "sentence-similarity"
    metadata.license = metadata.license or "unknown"
    metadata.tags = list(dict.fromkeys([*(metadata.tags or []), "sentence-transformers", "onnx"]))
    metadata.base_model = metadata.base_model or teacher
    if isinstance(metadata.base_model, str):
        metadata.base_model = _without_folders(metadata.base_model)
    # A bundle can be exported again: its former section gives way to the new one.
    prose = card.text.partition(_SECTION)[0].strip() or _NO_PROSE.format(name=student.name)
    return f"---\n{metadata.to_yaml()}\n---\n\n{prose}\n\n{_section(student, quality, sizes)}"


def _metadata(card: ModelCard) -> ModelCardData:
    return cast("ModelCardData", card.data)  # declared as its base class


def _without_folders(model: str) -> str:
    return Path(model).name if Path(model).is_absolute() else model


def _section(student: Student, quality: Quality, sizes: dict[str, int]) -> str:
    graphs = "\n".join(f"| `{path}` | {size / 1e6:.1f} MB |" for path, size in sizes.items())
    return f"""{_SECTION}

The graphs read `input_ids` and `attention_mask` (int64[n, length], padded with 0 on the right, at most
{student.max_length} tokens) and give `sentence_embedding` (float32[n, {student.dimension}]):
{student.pooling} pooling{" and normalisation are" if student.normalized else " is"} part of them.

| graph | size |
|---|---|
{graphs}

```python
import numpy as np, onnxruntime, tokenizers

tokenizer = tokenizers.Tokenizer.from_file("tokenizer.json")
tokenizer.enable_truncation({student.max_length})
tokenizer.enable_padding()
texts = tokenizer.encode_batch(["A child reads a book.", "A kid is reading."])
feeds = {{"input_ids": [text.ids for text in texts], "attention_mask": [text.attention_mask for text in texts]}}
session = onnxruntime.InferenceSession("{next(iter(sizes))}", providers=["CPUExecutionProvider"])
(vectors,) = session.run(["sentence_embedding"], {{name: np.array(rows) for name, rows in feeds.items()}})
```

{_in_sentence_transformers(student, next(iter(sizes)))}

### Evaluation

Cosines with torch, on texts of up to {student.max_length} tokens, alone and in mixed batches:

{_parity_table(quality)}

{_scores(quality)}

{_outputs_table(quality)}
"""


def _in_sentence_transformers(student: Student, graph: str) -> str:
    if student.static:
        return "sentence-transformers runs no token tables by ONNX: it opens this folder only with torch weights in it."
    return f"""sentence-transformers opens the same graph when told so; otherwise it looks for torch weights:

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer(".", backend="onnx", model_kwargs={{"file_name": "{graph}"}})
```"""


def _parity_table(quality: Quality) -> str:
    lines = ["| precision | mean | 1st percentile | worst |", "|---|---|---|---|"]
    for precision, parity in quality.parity.items():
        found = parity.cosine
        lines.append(f"| {precision} | {found.mean:.5f} | {found.first_percentile:.5f} | {found.worst:.5f} |")
    return "\n".join(lines)


def _outputs_table(quality: Quality) -> str:
    lines = [
        "What smaller forms of a vector keep of each text's ten nearest neighbours "
        f"(int8 and uint8 reach from -{quality.output_range:.4f} to {quality.output_range:.4f}):",
        "",
        "| output | bytes | neighbours kept |",
        "|---|---|---|",
    ]
    for name, output in quality.outputs.items():
        lines.append(f"| {name} | {output.bytes:,} | {100 * output.neighbours_kept:.1f} % |")
    return "\n".join(lines)


def _scores(quality: Quality) -> str:
    if not quality.sts:
        return "No STS data was at hand when this bundle was exported."
    lines = [
        'Spearman × 100 of cosine similarities on the seven STS tasks (SentEval\'s "all" protocol):',
        "",
        f"| | {' | '.join(TASKS)} | mean |",
        "|---|" + "---|" * (len(TASKS) + 1),
    ]
    for name, row in quality.sts.items():
        lines.append(f"| {name} | {' | '.join(f'{row.tasks[task]:.2f}' for task in TASKS)} | **{row.mean:.2f}** |")
    return "\n".join(lines)
