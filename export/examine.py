"""Everything that is found out about the graphs of one export, and the verdict: measurements put to the gates."""

from pathlib import Path

import onnxruntime

from bundle import sts
from bundle.embedder import Embedder
from bundle.manifest import Precision
from bundle.quality import Encode
from bundle.sts import StsScores
from export.gates import parity_gates, quality_gate, token_gate
from export.report import Quality, library_versions
from export.settings import ExportSettings
from export.verify import Verifier

TORCH = "torch"


def examine(graphs: dict[Precision, Path], verifier: Verifier, settings: ExportSettings, data: Path | None) -> Quality:
    """Measure every graph against torch and judge those that will be in the bundle.

    The fp32 graph is judged even where only its int8 form is bundled: a fault there is a fault of both.
    """
    encoders = {precision: verifier.open(graph, precision) for precision, graph in graphs.items()}
    parity = {precision: verifier.parity(encoder) for precision, encoder in encoders.items()}
    gates = [token_gate(verifier.same_tokens)]
    for precision, found in parity.items():
        gates += parity_gates(precision, found, settings)
    encode: dict[str, Encode] = {TORCH: verifier.reference.embed}
    for precision in settings.precision:
        encode[precision] = Embedder(verifier.text_encoder, encoders[precision]).embed
    dev = _score_dev(encode, data)
    gates += [quality_gate(precision, parity[precision], dev, settings) for precision in settings.precision]
    # The seven tasks take a while: not for a bundle that will not be written.
    wanted = settings.full_sts and all(gate.passed for gate in gates)
    return Quality(
        gates=gates,
        parity=parity,
        sts_dev=dev,
        sts=_score_tasks(encode, data) if wanted else {},
        bytes={precision: graphs[precision].stat().st_size for precision in settings.precision},
        versions=library_versions(onnxruntime.__version__),
    )


def _score_dev(models: dict[str, Encode], data: Path | None) -> dict[str, float]:
    if data is None or not _has(data, sts.SELECTION):
        return {}
    return {name: sts.score(encode, data, sts.SELECTION) for name, encode in models.items()}


def _score_tasks(models: dict[str, Encode], data: Path | None) -> dict[str, StsScores]:
    if data is None or not all(_has(data, file) for file in sts.TASKS.values()):
        return {}
    return {name: sts.evaluate(encode, data) for name, encode in models.items()}


def _has(data: Path, file: str) -> bool:
    return (data / "sts" / f"{file}.jsonl").is_file()
