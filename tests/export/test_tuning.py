from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from bundle.arrays import Ids
from bundle.choice import has_fast_native
from bundle.cpu import detect_cpu
from bundle.errors import UnsupportedGraphError, UnsupportedModelError
from bundle.layout import TUNING
from bundle.quality import Agreement
from bundle.runtime import open_encoder
from bundle.timing import LOADS, Contender, Load, Seconds
from export.forms import Form
from export.settings import ExportSettings
from export.tuning import EngineTime, Trial, Tuning, compare_engines, fastest_of, search_form
from export.verify import Parity, Verifier
from tests.export.conftest import Export

SETTINGS = ExportSettings(student="student", out=Path("out"))


@dataclass
class FakeVerifier:
    """Opens files that hold a form; how long a form takes and what it loses follow from its fields."""

    factors: dict[str, float]
    """How a field's change from its default changes the time."""
    spoilt_by: str = ""
    """The field whose change fails a gate."""
    disturbed: NDArray[np.float64] = field(default_factory=lambda: np.ones(3))
    """By how much faster forms are slowed down, round by round."""
    text_encoder: Any = field(default_factory=lambda: SimpleNamespace(max_length=64))
    ids: list[Ids] = field(default_factory=lambda: [np.ones(4, dtype=np.int32)])

    def open(self, graph: Path, precision: str, *, threads: int) -> Form:
        assert (precision, threads) == ("int8", 1)
        return msgspec.json.decode(graph.read_bytes(), type=Form)

    def parity(self, form: Form) -> Parity:
        spoilt = self.spoilt_by and getattr(form, self.spoilt_by) != getattr(Form(), self.spoilt_by)
        return Parity(
            Agreement(1, 0.999, 0.999, 0.999), ranking=1, batch_spread=0.5 if spoilt else 0, tokens=[], distances=[]
        )

    def seconds(self, form: Form) -> float:
        changed = [name for name in Form.__struct_fields__ if getattr(form, name) != getattr(Form(), name)]
        return float(np.prod([self.factors.get(name, 1.0) for name in changed]))


def write_form(target: Path, /, *, form: Form) -> None:
    target.write_bytes(msgspec.json.encode(form))


def search(verifier: FakeVerifier, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Form, dict[str, Trial]]:
    def fake_times(contenders: Mapping[str, Contender], loads: Mapping[str, Load]) -> Seconds:
        times = {name: verifier.seconds(cast("Form", contender.encoder)) for name, contender in contenders.items()}
        rounds = verifier.disturbed[:, None] * np.ones(2)
        return {
            name: {load: seconds * (rounds if seconds < 1 else np.ones_like(rounds)) for load in loads}
            for name, seconds in times.items()
        }

    monkeypatch.setattr("export.tuning.time_in_turns", fake_times)
    told: list[str] = []
    form, trials = search_form(Form(), write_form, workspace, cast("Verifier", verifier), SETTINGS, tell=told.append)
    assert len(told) == len(trials)
    return form, {trial.change: trial for trial in trials}


def test_what_makes_a_graph_faster_is_kept_and_built_upon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verifier = FakeVerifier({"fused_attention": 0.5, "fast_gelu": 0.8, "fused_normalization": 1.5, "int8_tables": 0.99})
    form, trials = search(verifier, tmp_path, monkeypatch)
    assert form == Form(fused_attention=False, fast_gelu=True)
    assert {change for change, trial in trials.items() if trial.kept} == {"attention fused: no", "GELU by tanh: yes"}
    assert trials["attention fused: no"].speedup == pytest.approx(2)
    assert trials["GELU by tanh: yes"].speedup == pytest.approx(1.25), "against the best form before it"
    assert trials["normalisation fused: yes"].speedup == pytest.approx(1 / 1.5)
    assert not trials["tables in int8: no"].kept, "one per cent is noise"


def test_what_is_faster_in_half_of_the_rounds_only_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verifier = FakeVerifier({"fused_attention": 0.5})
    verifier.disturbed = np.array([1.0, 0.9, 2.2, 2.5])
    form, trials = search(verifier, tmp_path, monkeypatch)
    assert form == Form()
    assert trials["attention fused: no"].speedup > 1.2
    assert trials["attention fused: no"].least < 1


def test_what_fails_a_gate_is_no_candidate_however_fast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    form, trials = search(FakeVerifier({"fixed_scales": 0.1}, spoilt_by="fixed_scales"), tmp_path, monkeypatch)
    assert form == Form()
    assert trials["scales fixed: no"].failed == ["int8 1 - cosine by batch-mates"]
    assert trials["scales fixed: no"].speedups == {}


def engine(speedup: float, **changes: Any) -> EngineTime:
    values: dict[str, Any] = {"runtime": "onnxruntime", "precision": "int8", "failed": []}
    return EngineTime(engine="x", tokens_per_second={}, speedup=speedup, **(values | changes))


def test_the_fastest_engine_that_loses_nothing_is_served() -> None:
    engines = [engine(1), engine(1.4, runtime="openvino", precision="fp32"), engine(9, failed=["int8 mean cosine"])]
    assert (fastest_of(engines).runtime, fastest_of(engines).precision) == ("openvino", "fp32")


def test_a_tuned_bundle_holds_the_measurements_and_is_served_by_them(
    tiny_teacher: Path, tmp_path: Path, export: Export
) -> None:
    bundle = export(tiny_teacher, tmp_path / "out", tune=True)
    tuning = msgspec.json.decode((bundle.path / TUNING).read_bytes(), type=Tuning)
    expected = [("onnxruntime", "int8"), ("onnxruntime", "fp32"), ("openvino", "fp32")]
    if has_fast_native(detect_cpu()):
        expected += [("native", "int8"), ("native", "fp32")]
    assert [(engine.runtime, engine.precision) for engine in tuning.engines] == expected
    assert all(engine.tokens_per_second.keys() == LOADS.keys() for engine in tuning.engines)
    assert tuning.engines[0].speedup == 1
    assert bundle.manifest.tuned == tuning.fastest
    assert open_encoder(bundle).description.startswith(tuning.fastest.runtime)


@pytest.mark.parametrize("error", [UnsupportedModelError, UnsupportedGraphError])
def test_an_engine_that_refuses_the_graph_is_left_out_and_told(
    monkeypatch: pytest.MonkeyPatch, error: type[UnsupportedGraphError]
) -> None:
    class Refusing(FakeVerifier):
        def open(self, graph: Path, precision: str, *, threads: int) -> Any:
            return SimpleNamespace(description=f"onnxruntime {precision}")

        def open_native(self, graph: Path) -> None:
            raise error("its weights are odd")

    def fake_times(contenders: Mapping[str, Contender], loads: Mapping[str, Load]) -> Seconds:
        return {name: dict.fromkeys(loads, np.ones((3, 2))) for name in contenders}

    monkeypatch.setattr("export.tuning.time_in_turns", fake_times)
    monkeypatch.setattr("export.tuning.has_fast_native", lambda _: True)
    told: list[str] = []
    settings = ExportSettings(student="student", out=Path("out"), precision=["int8"])
    engines = compare_engines({"int8": Path("int8.onnx")}, cast("Verifier", Refusing({})), settings, tell=told.append)
    assert [engine.runtime for engine in engines] == ["onnxruntime"]
    assert told == ["native int8: left out, its weights are odd"]


def test_a_graph_for_gpus_takes_no_part(tiny_teacher: Path, tmp_path: Path, export: Export) -> None:
    bundle = export(tiny_teacher, tmp_path / "out", precision=["fp16", "int8"], tune=True)
    tuning = msgspec.json.decode((bundle.path / TUNING).read_bytes(), type=Tuning)
    assert {engine.precision for engine in tuning.engines} == {"int8"}


def test_nothing_is_measured_unless_asked_for(tiny_teacher: Path, tmp_path: Path, export: Export) -> None:
    bundle = export(tiny_teacher, tmp_path / "out", precision=["int8"])
    assert not bundle.manifest.tuned
    assert not (bundle.path / TUNING).exists()
