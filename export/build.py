"""An export from end to end: open, convert, quantise, examine, write. The only place that describes the order."""

import datetime as dt
import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from bundle.cpu import Cpu, detect_cpu
from bundle.layout import MANIFEST, MODEL_CARD, ONNX_FOLDER, QUALITY, Bundle, write_bundle
from bundle.manifest import Graph, Manifest, Precision, Provenance
from export.card import compose_card, read_card, teacher_of
from export.errors import GateFailedError, OccupiedTargetError
from export.examine import examine
from export.files import copy_weights, write_sentence_transformers_files
from export.graph import export_graph
from export.hub import push, require_token
from export.quantize import quantize
from export.reference import TorchReference
from export.report import Quality, encode_quality, print_gates
from export.settings import ExportSettings
from export.source import Student, open_student
from export.table_graph import export_table
from export.verify import Verifier

GRAPHS: dict[Precision, str] = {"int8": f"{ONNX_FOLDER}/model_int8.onnx", "fp32": f"{ONNX_FOLDER}/model.onnx"}
"""Where the graph of each precision lies in a bundle, the preferred one first."""


def build(settings: ExportSettings, *, data: Path | None, console: Console) -> Bundle:
    """Export `settings.student` to `settings.out`; STS scores come from `data` where that is given.

    Raises:
        ExportError: bad input or a failed gate. After it, as after any exception, nothing is left behind.
    """
    if settings.push_to_hub:
        require_token()
    _announce(console, 1, f"Opening {settings.student}")
    student = open_student(settings.student, name=settings.name)
    read_card(student)  # its faults are better known now than after minutes of work
    _refuse_destruction(settings.out, student, overwrite=settings.overwrite)
    target = detect_cpu() if settings.target == "auto" else settings.target
    threads = settings.threads or os.cpu_count() or 1
    verifier = Verifier(student, TorchReference(student, threads=threads), threads=threads)
    with TemporaryDirectory(prefix="disco-export-") as workspace:
        _announce(console, 2, "Converting to ONNX")
        graphs: dict[Precision, Path] = {"fp32": Path(workspace) / "fp32.onnx"}
        to_onnx = export_table if student.static else export_graph
        to_onnx(student, graphs["fp32"])

        fusion = None
        if "int8" in settings.precision:
            _announce(console, 3, f"Quantising for {target}")
            graphs["int8"] = Path(workspace) / "int8.onnx"
            fusion = quantize(graphs["fp32"], graphs["int8"], verifier.ids, cpu=target, smoothing=settings.smoothing)

        _announce(console, 4, "Comparing with torch")
        quality = examine(graphs, fusion, verifier, settings, data, tell=lambda what: _tell(console, f"    {what}"))
        print_gates(quality, console)
        if quality.failed:
            names = ", ".join(gate.name for gate in quality.failed)
            raise GateFailedError(f"{student.name} does not meet: {names}; no bundle was written")

        _announce(console, 5, f"Writing {settings.out}")
        bundle = write_bundle(settings.out, lambda staged: _fill(staged, student, settings, graphs, quality, target))
    if settings.push_to_hub:
        address = push(bundle.path, settings.push_to_hub, private=settings.private)
        _tell(console, f"published: {address}")
    return bundle


def _announce(console: Console, step: int, what: str) -> None:
    _tell(console, f"{step}/5 {what}")


def _tell(console: Console, what: str) -> None:
    console.print(what, markup=False, highlight=False, soft_wrap=True)


def _refuse_destruction(target: Path, student: Student, *, overwrite: bool) -> None:
    resolved, source = target.resolve(), student.path.resolve()
    if source.is_relative_to(resolved) or resolved.is_relative_to(source):
        raise OccupiedTargetError(f"{target} and the student {student.path} contain each other; choose another --out")
    if not target.exists():
        return
    if not target.is_dir():
        raise OccupiedTargetError(f"{target} is a file; choose another --out")
    if any(target.iterdir()) and not (target / MANIFEST).is_file() and not overwrite:
        raise OccupiedTargetError(f"{target} is not empty and not a bundle; add --overwrite to replace it")


def _fill(
    staged: Path,
    student: Student,
    settings: ExportSettings,
    graphs: dict[Precision, Path],
    quality: Quality,
    target: Cpu,
) -> Manifest:
    """Write every file of the bundle but the manifest, which is returned for sealing."""
    card = read_card(student)
    teacher = teacher_of(student, card)
    included = [precision for precision in GRAPHS if precision in settings.precision]
    write_sentence_transformers_files(student, staged)
    if settings.include_weights:
        copy_weights(student, staged)
    (staged / ONNX_FOLDER).mkdir()
    for precision in included:
        shutil.copyfile(graphs[precision], staged / GRAPHS[precision])
    (staged / QUALITY).write_bytes(encode_quality(quality))
    sizes = {GRAPHS[precision]: (staged / GRAPHS[precision]).stat().st_size for precision in included}
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
                path=GRAPHS[precision],
                precision=precision,
                target=target if precision == "int8" else "any",
                batch_spread=quality.parity[precision].batch_spread,
            )
            for precision in included
        ),
        files=(),
        provenance=Provenance(
            student=student.name,
            teacher=teacher,
            created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            versions=quality.versions,
        ),
    )
