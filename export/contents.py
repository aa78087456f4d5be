"""What a bundle holds: writes every file of it and composes the manifest. Measures and decides nothing."""

import datetime as dt
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bundle.cpu import Cpu, Target
from bundle.layout import MODEL_CARD, ONNX_FOLDER, QUALITY, QUALITY_PAGE, TUNING
from bundle.manifest import Graph, Manifest, Precision, Provenance
from export.card import compose_card, read_card, teacher_of
from export.files import copy_weights, write_sentence_transformers_files
from export.page import render_quality
from export.report import Quality, encode_report
from export.settings import ExportSettings
from export.source import Student
from export.tuning import Tuning

MAIN_GRAPH = f"{ONNX_FOLDER}/model.onnx"
"""The one that readers open which know only one: the fp32 graph, or what is nearest to running everywhere."""
_PREFERENCE: tuple[Precision, ...] = ("fp16", "int8", "fp32")
"""A server takes the first that is right on its machine: fp16 on GPUs alone."""


@dataclass(frozen=True)
class Contents:
    """What was made and found out."""

    student: Student
    graphs: dict[Precision, Path]
    """Every graph there is, also those that the bundle leaves out."""
    target: Cpu
    """What the int8 graph was made for."""
    quality: Quality
    tuning: Tuning | None


def fill(staged: Path, contents: Contents, settings: ExportSettings) -> Manifest:
    """Write every file of the bundle but the manifest, which is returned for sealing."""
    student, quality, tuning = contents.student, contents.quality, contents.tuning
    card = read_card(student)
    teacher = teacher_of(student, card)
    paths = _graph_paths(settings.precision)
    write_sentence_transformers_files(student, staged)
    if settings.include_weights:
        copy_weights(student, staged)
    (staged / ONNX_FOLDER).mkdir()
    for precision, path in paths.items():
        shutil.copyfile(contents.graphs[precision], staged / path)
    (staged / QUALITY).write_bytes(encode_report(quality))
    if tuning is not None:
        (staged / TUNING).write_bytes(encode_report(tuning))
    (staged / QUALITY_PAGE).write_text(render_quality(student.name, quality, tuning), encoding="utf-8")
    sizes = {path: (staged / path).stat().st_size for path in paths.values()}
    card_text = compose_card(student, card, quality, sizes, teacher=teacher)
    (staged / MODEL_CARD).write_text(card_text, encoding="utf-8")
    return Manifest(
        name=student.name,
        dimension=student.dimension,
        max_length=student.max_length,
        pooling=student.pooling,
        normalized=student.normalized,
        output_range=quality.output_range,
        prompts=student.prompts,
        default_prompt=student.default_prompt,
        graphs=tuple(
            Graph(
                path=path,
                precision=precision,
                target=_target(precision, contents.target),
                batch_spread=quality.parity[precision].batch_spread,
            )
            for precision, path in paths.items()
        ),
        tuned=tuning.fastest if tuning else msgspec.UNSET,
        files=(),
        provenance=Provenance(
            student=student.name,
            teacher=teacher,
            created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            versions=quality.versions,
        ),
    )


def _target(precision: Precision, int8_target: Cpu) -> Target:
    if precision == "int8":
        return int8_target
    return "cuda" if precision == "fp16" else "any"


def _graph_paths(precisions: Sequence[Precision]) -> dict[Precision, str]:
    """Where the graph of each precision lies, the preferred one first."""
    ordered = [precision for precision in _PREFERENCE if precision in precisions]
    main = ordered[-1]
    return {
        precision: MAIN_GRAPH if precision == main else f"{ONNX_FOLDER}/model_{precision}.onnx" for precision in ordered
    }
