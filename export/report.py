"""What an export found out: `quality.json`, and the table of gates on the terminal. Knows no model."""

from importlib.metadata import version

import msgspec
from rich.console import Console
from rich.table import Table

from bundle.manifest import Precision
from bundle.output_types import OutputType
from bundle.sts import StsScores
from export.gates import Gate
from export.outputs import Output
from export.verify import Parity

_LIBRARIES = ("torch", "transformers", "sentence-transformers", "tokenizers", "optimum", "optimum-onnx", "onnx")


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """The content of `quality.json`. Scores are keyed by precision, `torch` being the student itself."""

    reference: str = "the student in torch, float32, on the CPU"
    gates: list[Gate]
    parity: dict[Precision, Parity]
    sts_dev: dict[str, float]
    """Spearman × 100 on STS-B dev; empty where there is no STS data."""
    sts: dict[str, StsScores]
    """The seven STS tasks; empty where there is no STS data."""
    output_range: float
    """What the ends of int8 and uint8 outputs stand for."""
    outputs: dict[OutputType, Output]
    """What is left of the preferred graph's vectors in every form they can be asked for."""
    bytes: dict[str, int]
    """The size of each graph of the bundle, by precision."""
    versions: dict[str, str]

    @property
    def failed(self) -> list[Gate]:
        """The gates that did not pass."""
        return [gate for gate in self.gates if not gate.passed]


def encode_report(report: msgspec.Struct) -> bytes:
    """Serialise as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


def library_versions(onnxruntime: str) -> dict[str, str]:
    """The versions that a bundle's numbers depend on; ONNX Runtime's comes from it, as its package has two names."""
    return {name: version(name) for name in _LIBRARIES} | {"onnxruntime": onnxruntime}


def print_gates(quality: Quality, console: Console) -> None:
    """Show every gate with value, threshold and verdict."""
    table = Table(title="Gates")
    table.add_column("gate")
    table.add_column("measured", justify="right")
    table.add_column("required", justify="right")
    table.add_column("verdict")
    for gate in quality.gates:
        verdict = "[green]PASS[/]" if gate.passed else "[bold red]FAIL[/]"
        table.add_row(gate.name, f"{gate.value:.5f}", f"{gate.bound} {gate.threshold:g}", verdict)
    console.print(table)
