"""What a graph must not lose: thresholds put beside measurements. Judges; measures nothing."""

from typing import Literal

import msgspec

from bundle.manifest import Precision
from export.fusion import FUSED, Fusion
from export.settings import ExportSettings
from export.verify import Parity


class Gate(msgspec.Struct, frozen=True):
    """One requirement and what was measured; not-a-number never passes."""

    name: str
    value: float
    bound: Literal["at least", "at most"]
    threshold: float
    passed: bool


def at_least(name: str, value: float, threshold: float) -> Gate:
    """A gate for what must be high enough."""
    return Gate(name, value, "at least", threshold, passed=value >= threshold)


def at_most(name: str, value: float, threshold: float) -> Gate:
    """A gate for what must be low enough."""
    return Gate(name, value, "at most", threshold, passed=value <= threshold)


def token_gate(same_tokens: float) -> Gate:
    """The bundle must read every text exactly as torch does."""
    return at_least("texts with torch's very token ids", same_tokens, 1.0)


def fusion_gate(precision: Precision, fusion: Fusion, family: str | None) -> Gate:
    """Another version of the optimizer must not lose the speed unnoticed."""
    expected = fusion.layers if fusion.wanted and family in FUSED else 0
    return at_least(f"{precision} layers with fused attention", fusion.fused, expected)


def parity_gates(precision: Precision, parity: Parity, settings: ExportSettings) -> list[Gate]:
    """The requirements on the cosines with torch's vectors."""
    measured = parity.cosine
    if precision == "fp32":
        return [at_least("fp32 worst cosine", measured.worst, settings.fp32_worst)]
    if precision == "fp16":
        return [at_least("fp16 worst cosine", measured.worst, settings.fp16_worst)]
    return [
        at_least("int8 mean cosine", measured.mean, settings.int8_mean),
        at_least("int8 1st percentile", measured.first_percentile, settings.int8_first_percentile),
        at_least("int8 worst cosine", measured.worst, settings.int8_worst),
        at_most("int8 1 - cosine by batch-mates", parity.batch_spread, settings.int8_batch_spread),
    ]


def quality_gate(precision: Precision, parity: Parity, sts_dev: dict[str, float], settings: ExportSettings) -> Gate:
    """The requirement on what vectors are for: STS-B dev where it was scored, else the ranking of similarities."""
    if not sts_dev:
        return at_least(f"{precision} ranking of similarities", parity.ranking, settings.ranking_agreement)
    return at_most(f"{precision} STS-B dev points lost", sts_dev["torch"] - sts_dev[precision], settings.sts_drop)
