"""An export from end to end: open, convert, quantise, examine, tune, write. The only place that describes the order."""

import os
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from bundle.cpu import detect_cpu
from bundle.layout import MANIFEST, Bundle, write_bundle
from bundle.manifest import Precision
from export.card import read_card
from export.contents import Contents, fill
from export.errors import GateFailedError, OccupiedTargetError
from export.examine import examine
from export.forms import Form
from export.fusion import Fusion
from export.graph import export_graph
from export.half import halve
from export.hub import push, require_token
from export.quantize import quantize
from export.reference import TorchReference
from export.report import print_gates
from export.settings import ExportSettings
from export.source import Student, open_student
from export.table_graph import export_table
from export.tuning import Trial, Tuning, compare_engines, fastest_of, print_tuning, search_form
from export.verify import Verifier


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
    tell = partial(_tell, console, indented=True)
    with TemporaryDirectory(prefix="disco-export-") as workspace:
        _announce(console, 2, "Converting to ONNX")
        graphs: dict[Precision, Path] = {"fp32": Path(workspace) / "fp32.onnx"}
        to_onnx = export_table if student.static else export_graph
        to_onnx(student, graphs["fp32"])

        fusions: dict[Precision, Fusion] = {}
        if "fp16" in settings.precision:
            graphs["fp16"] = Path(workspace) / "fp16.onnx"
            fusions["fp16"] = halve(graphs["fp32"], graphs["fp16"])

        form = Form(smoothing=settings.smoothing)
        trials: list[Trial] = []
        if "int8" in settings.precision:
            _announce(console, 3, f"Quantising for {target}")
            to_int8 = partial(quantize, graphs["fp32"], texts=verifier.ids, cpu=target)
            if settings.tune and not student.static:
                form, trials = search_form(form, to_int8, Path(workspace), verifier, settings, tell=tell)
            graphs["int8"] = Path(workspace) / "int8.onnx"
            fusions["int8"] = to_int8(graphs["int8"], form=form)

        _announce(console, 4, "Comparing with torch")
        quality = examine(graphs, fusions, verifier, settings, data, tell=tell)
        print_gates(quality, console)
        if quality.failed:
            names = ", ".join(gate.name for gate in quality.failed)
            raise GateFailedError(f"{student.name} does not meet: {names}; no bundle was written")

        tuning = None
        if settings.tune:
            engines = compare_engines(graphs, verifier, settings, tell=tell)
            tuning = Tuning(form=form, trials=trials, engines=engines, fastest=fastest_of(engines))
            print_tuning(tuning, console)

        _announce(console, 5, f"Writing {settings.out}")
        contents = Contents(student, graphs, target, quality, tuning)
        bundle = write_bundle(settings.out, lambda staged: fill(staged, contents, settings))
    if settings.push_to_hub:
        address = push(bundle.path, settings.push_to_hub, private=settings.private)
        _tell(console, f"published: {address}")
    return bundle


def _announce(console: Console, step: int, what: str) -> None:
    _tell(console, f"{step}/5 {what}")


def _tell(console: Console, what: str, *, indented: bool = False) -> None:
    console.print(f"    {what}" if indented else what, markup=False, highlight=False, soft_wrap=True)


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
