"""Running a benchmark of engines: prepare the models, let the engines take turns, write the record."""

import datetime as dt
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import onnxruntime
from rich.console import Console

from bundle.arrays import flatten
from bundle.atomic import write_atomically
from bundle.choice import is_installed
from bundle.cpu import features
from bundle.provenance import available_cores, commit, processor, versions
from bundle.timing import Contender, loads_within, time_in_turns
from export import samples
from export.benchmark.engines import OUR_GRAPH, open_engines
from export.benchmark.operators import OperatorShare, profile_operators
from export.benchmark.record import EngineBenchmark, Row, make_rows, print_table
from export.benchmark.shortened import keep_layers
from export.errors import UnsupportedArchitectureError
from export.report import encode_report
from export.source import Student, open_student
from export.verify import open_text_encoder

_LIBRARIES = ("numpy", "optimum", "optimum-onnx", "torch", "transformers")


def run_benchmark(
    reference: str,
    out: Path,
    *,
    name: str | None,
    layers: Sequence[int],
    layers_name: str,
    rounds: int,
    command: str,
    console: Console | None = None,
) -> None:
    """Measure the model `reference`, then what is left of it with only `layers`, and write `out`.

    Raises:
        ExportError: the model cannot be read, or is a table of tokens, which no engine would have work with.
    """
    console = console or Console()
    student = open_student(reference, name=name)
    if student.static:
        raise UnsupportedArchitectureError(f"{reference}: a static model has no layers; nothing is there to compare")
    rows, operators = _measure(student, rounds, console)
    if layers:
        with TemporaryDirectory(prefix="disco-benchmark-") as folder:
            keep_layers(student.path, layers, Path(folder) / "model")
            more = _measure(open_student(str(Path(folder) / "model"), name=layers_name), rounds, console)
            rows, operators = rows + more[0], operators + more[1]
    record = EngineBenchmark(
        machine={
            "processor": processor() or "unknown",
            "cores": available_cores(),
            "features": list(features()),
            "commit": commit() or "unknown",
            "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "command": command,
            "onnxruntime": onnxruntime.__version__,  # its package has two names
            **versions([*_LIBRARIES, "openvino"] if is_installed("openvino") else _LIBRARIES),
        },
        rows=rows,
        operators=operators,
    )
    write_atomically(out, encode_report(record))
    console.print(f"written: {out}", markup=False, highlight=False)


def _measure(student: Student, rounds: int, console: Console) -> tuple[list[Row], list[OperatorShare]]:
    text_encoder = open_text_encoder(student)
    texts = text_encoder.encode([*samples.sentences(), *samples.ladder(text_encoder)])
    loads = loads_within(student.max_length)
    with TemporaryDirectory(prefix="disco-benchmark-") as workspace:
        ids, _ = flatten(texts)
        tell = partial(console.print, markup=False, highlight=False, soft_wrap=True)
        engines = open_engines(student, texts, Path(workspace), tell=tell)
        contenders = {engine: Contender(encoder, ids) for engine, encoder in engines.items()}
        seconds = time_in_turns(contenders, loads, rounds=rounds)
        operators = profile_operators(Path(workspace) / OUR_GRAPH, ids, loads, model=student.name)
    print_table(seconds, loads, student.name, console)
    return make_rows(seconds, loads, student.name), operators
