"""The weights a stage offers at an evaluation: those trained or averages in weight space. Knows no models, no loop."""

from collections.abc import Mapping
from typing import TypeAlias

from torch import Tensor

from train.schedules import Schedule

Weights: TypeAlias = dict[str, Tensor]


def offered_weights(trained: Weights, start: Weights, kept: Weights, evaluations: int, schedule: Schedule) -> Weights:
    """What an evaluation scores and may keep.

    A share of the start is blended in, which gives back of what a stage unlearns more than it takes of what it teaches
    (WiSE-FT, Wortsman et al. 2022, equation 1); with `keep = "mean"` all evaluations' weights are averaged (model
    soups, Wortsman et al. 2022; checkpoint averaging).

    Args:
        trained: the weights that the optimiser has reached.
        start: those the stage began with; only looked at when `schedule.start_share` is above 0.
        kept: what the evaluation before this one left; only looked at when `schedule.keep` is "mean".
        evaluations: how many there were before this one, not counting that of the start.
        schedule: decides.
    """
    offered = trained
    if schedule.start_share:
        offered = _blend(offered, start, schedule.start_share)
    if schedule.keep == "mean" and evaluations:
        offered = _blend(offered, kept, evaluations / (evaluations + 1))
    return offered


def _blend(weights: Weights, others: Mapping[str, Tensor], share: float) -> Weights:
    """`share` of the others, the rest of `weights`; what is no floating-point number stays."""
    return {
        name: tensor.lerp(others[name], share) if tensor.is_floating_point() else tensor
        for name, tensor in weights.items()
    }
