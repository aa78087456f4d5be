import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from rich.console import Console
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from torch import Tensor

from bundle.arrays import flatten
from bundle.choice import has_fast_native
from bundle.cpu import detect_cpu
from bundle.quality import cosine
from bundle.timing import LOADS
from export.benchmark import run
from export.benchmark.engines import BASELINE, INT8_ROOF, NATIVE_BF16, NATIVE_INT8, OURS, ROOF, open_engines
from export.benchmark.record import EngineBenchmark
from export.benchmark.torch_engines import Multiply, packed_bf16, packed_int8
from export.errors import UnsupportedArchitectureError
from export.source import open_student
from export.verify import open_text_encoder
from tests.export.test_graph import FAMILIES, make_student
from tests.export.test_table_graph import save_student


@pytest.fixture(autouse=True)
def nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take minutes, and computes the same."""
    monkeypatch.setattr(torch, "compile", lambda module, **_: module)


def test_every_engine_computes_the_same_student(tiny_teacher: Path, tmp_path: Path) -> None:
    student = open_student(str(tiny_teacher))
    texts = open_text_encoder(student).encode(["the cat sat", "a slow river", "music at night in the big blue house"])
    told: list[str] = []
    engines = open_engines(student, texts, tmp_path, tell=told.append)
    assert not told
    assert {BASELINE, OURS, ROOF, "OpenVINO", "torch.compile bf16"} < engines.keys()
    assert ({NATIVE_BF16, NATIVE_INT8} < engines.keys()) == has_fast_native(detect_cpu())
    reference = engines.pop("torch fp32").encode(*flatten(texts))
    for roof in (ROOF, INT8_ROOF):
        engines.pop(roof).encode(*flatten(texts))
    for name, engine in engines.items():
        vectors = engine.encode(*flatten(texts))
        assert vectors.dtype == np.float32, name
        assert cosine(vectors, reference).min() > 0.98, name
        assert engine.dimension == student.dimension


def test_a_model_that_the_native_engine_does_not_know_is_left_to_the_others(
    tiny_teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("disco_native", reason="disco-native is not built: make native")
    monkeypatch.setattr("export.benchmark.engines.has_fast_native", lambda _: True)
    path = make_student(tmp_path, FAMILIES["mpnet"], tiny_teacher, Pooling(32, "mean"), Normalize())
    student = open_student(str(path))
    told: list[str] = []
    texts = open_text_encoder(student).encode(["the cat sat", "a slow river"])
    engines = open_engines(student, texts, tmp_path, tell=told.append)
    assert {BASELINE, OURS, ROOF, INT8_ROOF} < engines.keys()
    assert not {NATIVE_BF16, NATIVE_INT8} & engines.keys()
    assert [message.partition(": left out, ")[0] for message in told] == [NATIVE_BF16, NATIVE_INT8]


def test_the_record_has_a_row_for_every_engine_model_and_load(tiny_teacher: Path, tmp_path: Path) -> None:
    out, shown = tmp_path / "engine.json", StringIO()
    run.run_benchmark(
        str(tiny_teacher), out, name="whole", layers=[1], layers_name="half", rounds=2, command="this",
        console=Console(file=shown, width=200),
    )  # fmt: skip
    record = msgspec.json.decode(out.read_bytes(), type=EngineBenchmark)
    engines = {row.engine for row in record.rows}
    assert len(record.rows) == len(engines) * 2 * len(LOADS)
    assert {row.model for row in record.rows} == {"whole", "half"}
    assert {row.shape for row in record.rows} == {"1x16", "32x16", "16x32"}, "no text is longer than the model takes"
    assert all(0 < row.min <= row.tokens_per_s <= row.max for row in record.rows)
    assert record.machine["command"] == "this"
    assert json.loads(out.read_bytes())["rows"][0].keys() == {
        "engine", "model", "threads", "shape", "tokens_per_s", "min", "max",
    }  # fmt: skip
    assert all(engine in shown.getvalue() for engine in engines)
    for shape in ("1x16", "32x16", "16x32"):
        shares = [row for row in record.operators if row.model == "half" and row.shape == shape]
        assert sum(row.share for row in shares) == pytest.approx(1, abs=0.01)
        assert {"QAttention", "LayerNormalization"} < {row.operator for row in shares}
        assert [row.share for row in shares] == sorted((row.share for row in shares), reverse=True)


def test_a_static_student_has_nothing_to_compare(tmp_path: Path) -> None:
    student = save_student(tmp_path / "static")
    with pytest.raises(UnsupportedArchitectureError, match="no layers"):
        run.run_benchmark(
            str(student), tmp_path / "engine.json", name=None, layers=[], layers_name="", rounds=1, command="this"
        )
    assert not (tmp_path / "engine.json").exists()


@pytest.mark.parametrize("pack", [packed_bf16, packed_int8])
def test_the_roof_multiplies_by_the_weights(pack: Callable[[Tensor], Multiply]) -> None:
    generator = torch.Generator().manual_seed(0)
    weight, tokens = torch.randn(48, 32, generator=generator), torch.randint(0, 4, (5, 32), generator=generator)
    given = tokens.to(torch.bfloat16 if pack is packed_bf16 else torch.uint8)
    found, expected = pack(weight)(given).float(), tokens.float() @ weight.T
    assert float((found - expected).norm() / expected.norm()) < 0.01
