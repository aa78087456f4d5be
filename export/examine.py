"""Everything that is found out about the graphs of one export, and the verdict: measurements put to the gates."""

from collections.abc import Callable
from pathlib import Path

import onnxruntime

from bundle import sts
from bundle.arrays import Vectors
from bundle.embedder import Embedder
from bundle.manifest import Precision
from bundle.output_types import calibrate_range
from bundle.quality import Encode
from bundle.sts import StsScores
from export import samples
from export.fusion import Fusion
from export.gates import fusion_gate, parity_gates, quality_gate, token_gate
from export.outputs import measure_outputs
from export.report import Quality, library_versions
from export.settings import ExportSettings
from export.verify import Verifier

TORCH = "torch"


def examine(
    graphs: dict[Precision, Path],
    fusions: dict[Precision, Fusion],
    verifier: Verifier,
    settings: ExportSettings,
    data: Path | None,
    *,
    tell: Callable[[str], None],
) -> Quality:
    """Measure every graph against torch and judge those that will be in the bundle; `tell` shows the progress.

    `fusions` are what became of the graphs' attention. The fp32 graph is judged even where only its int8 form is
    bundled: a fault there is a fault of both.
    """
    encoders = {precision: verifier.open(graph, precision) for precision, graph in graphs.items()}
    parity = {precision: verifier.parity(encoder) for precision, encoder in encoders.items()}
    gates = [token_gate(verifier.same_tokens)]
    gates += [fusion_gate(precision, fusion, verifier.family) for precision, fusion in fusions.items()]
    for precision, found in parity.items():
        gates += parity_gates(precision, found, settings)
    encode: dict[str, Encode] = {TORCH: verifier.reference.embed}
    for precision in settings.precision:
        encode[precision] = Embedder(verifier.text_encoder, encoders[precision]).embed
    dev = _score_dev(encode, data, tell)
    gates += [quality_gate(precision, parity[precision], dev, settings) for precision in settings.precision]
    vectors = _corpus_vectors(encode[settings.precision[0]], data)
    output_range = calibrate_range(vectors)
    # The seven tasks take a while: not for a bundle that will not be written.
    wanted = settings.full_sts and all(gate.passed for gate in gates)
    return Quality(
        gates=gates,
        parity=parity,
        sts_dev=dev,
        sts=_score_tasks(encode, data, tell) if wanted else {},
        output_range=output_range,
        outputs=measure_outputs(vectors, output_range=output_range),
        bytes={precision: graphs[precision].stat().st_size for precision in settings.precision},
        versions=library_versions(onnxruntime.__version__),
    )


def _corpus_vectors(encode: Encode, data: Path | None) -> Vectors:
    """Those of the texts that output types are calibrated and compared on: STS-B dev where it is at hand."""
    if data is None or not _has(data, sts.SELECTION):
        return encode(samples.sentences())
    pairs = sts.read_pairs(data, sts.SELECTION)
    return encode(list(dict.fromkeys(text for pair in pairs for text in (pair.sentence1, pair.sentence2))))


def _score_dev(models: dict[str, Encode], data: Path | None, tell: Callable[[str], None]) -> dict[str, float]:
    scores: dict[str, float] = {}
    if data is not None and _has(data, sts.SELECTION):
        for name, encode in models.items():
            tell(f"STS-B dev with {name}")
            scores[name] = sts.score(encode, data, sts.SELECTION)
    return scores


def _score_tasks(models: dict[str, Encode], data: Path | None, tell: Callable[[str], None]) -> dict[str, StsScores]:
    scores: dict[str, StsScores] = {}
    if data is not None and all(_has(data, file) for file in sts.TASKS.values()):
        for name, encode in models.items():
            tell(f"the seven STS tasks with {name}")
            scores[name] = sts.evaluate(encode, data)
    return scores


def _has(data: Path, file: str) -> bool:
    return (data / "sts" / f"{file}.jsonl").is_file()
