from pathlib import Path

import pytest

from bundle.quality import Agreement
from export.fusion import Fusion
from export.gates import at_least, at_most, fusion_gate, parity_gates, quality_gate
from export.settings import ExportSettings
from export.verify import Parity

SETTINGS = ExportSettings(student="student", out=Path("out"))


def parity(
    *,
    mean: float = 0.999,
    first_percentile: float = 0.995,
    worst: float = 0.98,
    ranking: float = 0.99,
    batch_spread: float = 0,
) -> Parity:
    return Parity(
        Agreement(10, mean, first_percentile, worst),
        ranking=ranking,
        batch_spread=batch_spread,
        tokens=[],
        distances=[],
    )


def test_a_bound_is_met_by_equality_and_never_by_nan() -> None:
    assert at_least("x", 0.5, 0.5).passed
    assert not at_least("x", 0.49, 0.5).passed
    assert at_most("x", 0.5, 0.5).passed
    assert not at_most("x", 0.51, 0.5).passed
    assert not at_least("x", float("nan"), 0.5).passed
    assert not at_most("x", float("nan"), 0.5).passed


@pytest.mark.parametrize(
    ("measured", "failing"),
    [
        (parity(), []),
        (parity(mean=0.996), ["int8 mean cosine"]),
        (parity(first_percentile=0.98), ["int8 1st percentile"]),
        (parity(worst=0.9), ["int8 worst cosine"]),
        (parity(batch_spread=0.002), ["int8 1 - cosine by batch-mates"]),
    ],
)
def test_int8_must_be_close_on_average_and_at_worst(measured: Parity, failing: list[str]) -> None:
    assert [gate.name for gate in parity_gates("int8", measured, SETTINGS) if not gate.passed] == failing


def test_fp32_must_be_the_same_everywhere() -> None:
    assert all(gate.passed for gate in parity_gates("fp32", parity(worst=0.99995), SETTINGS))
    assert not all(gate.passed for gate in parity_gates("fp32", parity(worst=0.9998), SETTINGS))


def test_half_precision_has_a_bound_of_its_own() -> None:
    assert all(gate.passed for gate in parity_gates("fp16", parity(worst=0.9996), SETTINGS))
    assert not all(gate.passed for gate in parity_gates("fp16", parity(worst=0.9994), SETTINGS))


def test_sts_decides_where_it_was_scored() -> None:
    scores = {"torch": 80.0, "int8": 79.4}
    assert not quality_gate("int8", parity(), scores, SETTINGS).passed
    assert quality_gate("int8", parity(), {**scores, "int8": 79.6}, SETTINGS).passed
    assert quality_gate("int8", parity(), {**scores, "int8": 81.0}, SETTINGS).passed, "a gain is no loss"
    assert quality_gate("int8", parity(), {}, SETTINGS).passed
    assert not quality_gate("int8", parity(ranking=0.5), {}, SETTINGS).passed


@pytest.mark.parametrize(
    ("family", "fused", "passed"), [("bert", 3, True), ("bert", 2, False), ("mpnet", 0, True), (None, 0, True)]
)
def test_attention_must_be_fused_where_it_can_be(family: str | None, fused: int, passed: bool) -> None:
    gate = fusion_gate("int8", Fusion(layers=3, fused=fused), family)
    assert gate.passed is passed
    assert gate.name.startswith("int8")
