import pytest
import torch
from torch import Tensor

from train.averaging import offered_weights
from train.schedules import Schedule

START = {"layer": torch.tensor([0.0, 0.0]), "steps": torch.tensor([1])}
PATH = [{"layer": torch.tensor([row, 10.0 * row]), "steps": torch.tensor([row])} for row in (1, 2, 6)]


def end(**settings: object) -> dict[str, Tensor]:
    """What a stage that passes `PATH` ends with."""
    schedule = Schedule.model_validate({"examples": 1, "learning_rate": 1.0} | settings)
    kept = START
    for evaluations, trained in enumerate(PATH):
        kept = offered_weights(trained, START, kept, evaluations, schedule)
    return kept


@pytest.mark.parametrize("keep", ["best", "last"])
def test_trained_weights_are_offered_as_they_are(keep: str) -> None:
    assert end(keep=keep) is PATH[-1]


def test_the_mean_is_that_of_all_evaluations_without_the_start() -> None:
    torch.testing.assert_close(end(keep="mean")["layer"], torch.tensor([3.0, 30.0]))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_start_has_its_share_in_single_weights_and_in_means(share: float) -> None:
    start = {"layer": torch.tensor([100.0, -100.0]), "steps": torch.tensor([1])}
    schedule = Schedule(examples=1, learning_rate=1.0, start_share=share)
    single = offered_weights(PATH[0], start, {}, 0, schedule)["layer"]
    torch.testing.assert_close(single, (1 - share) * PATH[0]["layer"] + share * start["layer"])
    torch.testing.assert_close(end(keep="mean", start_share=share)["layer"], (1 - share) * torch.tensor([3.0, 30.0]))


def test_what_is_no_floating_point_number_is_not_averaged() -> None:
    assert end(keep="mean", start_share=0.5)["steps"].tolist() == [6]
