from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

from train.batches import Rows
from train.config import Recipe, Student
from train.errors import DivergedError, ResumeError
from train.loop import Objective, StageRun, run_stage
from train.progress import Progress
from train.student import make_student


class Drift(Objective):
    """Pulls all weights towards zero; can be told to explode or to die at a step."""

    def __init__(self, student: SentenceTransformer, *, explode_at: int = -1, die_at: int = -1) -> None:
        super().__init__()
        self.student = student
        self.lengths = np.full(64, 5)
        self.steps: list[list[int]] = []
        self._explode_at, self._die_at = explode_at, die_at

    def loss(self, rows: Rows) -> Tensor:
        self.steps.append(rows.tolist())
        if len(self.steps) == self._die_at:
            raise KeyboardInterrupt
        noise = torch.rand(())  # a resumed run must draw the same numbers
        total = sum((weights.square().sum() for weights in self.student.parameters()), start=noise * 0)
        return total * (1 + noise) * (float("nan") if len(self.steps) == self._explode_at else 1)


class Projecting(Drift):
    """The same with a projection that is of use with the student it was trained with, and something that is not."""

    kept = ("student", "projection")

    def __init__(self, student: SentenceTransformer, *, die_at: int = -1) -> None:
        super().__init__(student, die_at=die_at)
        self.projection = nn.Linear(2, 2)
        self.temperature = nn.Parameter(torch.ones(()))
        with torch.no_grad():
            self.projection.weight.fill_(1.0)

    def loss(self, rows: Rows) -> Tensor:
        """See `Objective`."""
        return super().loss(rows) + self.projection.weight.square().sum() + self.temperature.square()


@pytest.fixture
def make_run(tmp_path: Path, make_recipe: Callable[..., Recipe]) -> Callable[..., StageRun]:
    def make(score: Callable[[SentenceTransformer], float] | None = None, **changes: object) -> StageRun:
        distil = make_recipe().distil
        assert distil is not None
        schedule = distil.model_copy(update={"examples": 128, "batch_size": 8} | changes)
        return StageRun("distil", schedule, 0, False, score or weight_norm, tmp_path / "state.pt")

    return make


@pytest.fixture
def student(tiny_teacher: Path, tmp_path: Path) -> Callable[[], SentenceTransformer]:
    return lambda: make_student(Student(layers=(0,)), tiny_teacher, tmp_path)


def weight_norm(student: SentenceTransformer) -> float:
    return -sum(float(weights.detach().square().sum()) for weights in student.parameters())


def weights_of(student: SentenceTransformer) -> list[Tensor]:
    return [tensor.clone() for tensor in student.state_dict().values()]


def test_training_lowers_the_loss_and_records_its_history(
    student: Callable[[], SentenceTransformer], make_run: Callable[..., StageRun]
) -> None:
    history = run_stage(Drift(student()), make_run(evaluations=4), Progress())
    assert [entry["examples"] for entry in history] == [0, 32, 64, 96, 128]
    scores = [entry["score"] for entry in history]
    assert scores == sorted(scores)
    assert history[1]["loss"] > history[-1]["loss"]


def test_each_stage_has_its_dropout(
    student: Callable[[], SentenceTransformer], make_run: Callable[..., StageRun]
) -> None:
    trained = student()
    for probability in (0.3, 0.0):
        run = make_run(dropout=probability)
        run_stage(Drift(trained), run, Progress())
        run.state_file.unlink()
        assert {module.p for module in trained.modules() if isinstance(module, nn.Dropout)} == {probability}


@pytest.mark.parametrize(("keep", "kept"), [("best", 2), ("last", 4)])
def test_the_best_weights_are_kept_or_the_last(
    student: Callable[[], SentenceTransformer], make_run: Callable[..., StageRun], keep: str, kept: int
) -> None:
    seen: list[list[Tensor]] = []
    scores = iter([0.1, 0.5, 0.9, 0.3, 0.2])

    def score(scored: SentenceTransformer) -> float:
        seen.append(weights_of(scored))
        return next(scores)

    trained = student()
    run_stage(Drift(trained), make_run(score, evaluations=4, keep=keep), Progress())
    same = [all(map(torch.equal, weights_of(trained), scored)) for scored in seen]
    assert same == [number == kept for number in range(5)]


def test_averages_are_what_is_scored_and_kept_and_training_goes_on_from_the_weights_it_had(
    student: Callable[[], SentenceTransformer], make_run: Callable[..., StageRun], tmp_path: Path
) -> None:
    def path(**settings: object) -> list[list[Tensor]]:
        """The weights that were scored, and last those the stage ended with."""
        seen: list[list[Tensor]] = []

        def score(scored: SentenceTransformer) -> float:
            seen.append(weights_of(scored))
            return 0.0

        trained = student()
        run_stage(Drift(trained), make_run(score, evaluations=4, **settings), Progress())
        (tmp_path / "state.pt").unlink()
        return [*seen, weights_of(trained)]

    start, *trained, _ = path(keep="last")
    _, *offered, kept = path(keep="mean", start_share=0.25)
    assert all(map(torch.equal, offered[-1], kept))
    for count, scored in enumerate(offered, start=1):
        for number, tensor in enumerate(scored):
            mean = torch.stack([weights[number] for weights in trained[:count]]).mean(0)
            torch.testing.assert_close(tensor, 0.75 * mean + 0.25 * start[number])


def test_what_is_of_use_with_the_student_only_is_kept_and_averaged_with_it(
    student: Callable[[], SentenceTransformer], make_run: Callable[..., StageRun]
) -> None:
    def path(scores: list[float], **settings: object) -> tuple[list[Tensor], Tensor, Tensor]:
        """The projections that were scored, then projection and temperature the stage ended with."""
        seen: list[Tensor] = []
        left = iter(scores)

        def score(_: SentenceTransformer) -> float:
            seen.append(objective.projection.weight.detach().clone())
            return next(left)

        objective = Projecting(student())
        run = make_run(score, evaluations=4, **settings)
        run_stage(objective, run, Progress())
        run.state_file.unlink()
        return seen, objective.projection.weight.detach(), objective.temperature.detach()

    trained, best, temperature = path([0.1, 0.5, 0.9, 0.3, 0.2])
    assert len({tensor.sum().item() for tensor in trained}) == 5
    assert torch.equal(best, trained[2])
    _, last, same_temperature = path([0.0] * 5, keep="last")
    assert torch.equal(last, trained[4])
    assert temperature == same_temperature, "it is that of the last step"
    offered, mean, _ = path([0.0] * 5, keep="mean", start_share=0.25)
    torch.testing.assert_close(mean, 0.75 * torch.stack(trained[1:]).mean(0) + 0.25 * trained[0])
    assert torch.equal(mean, offered[4])


@pytest.mark.parametrize("keep", ["best", "mean"])
def test_a_checkpoint_that_kept_the_student_alone_is_gone_on_from(
    student: Callable[[], SentenceTransformer], make_run: Callable[..., StageRun], tmp_path: Path, keep: str
) -> None:
    run = make_run(evaluations=4, keep=keep, start_share=0.25)
    with pytest.raises(KeyboardInterrupt):
        run_stage(Projecting(student(), die_at=10), run, Progress())
    fields = torch.load(run.state_file, weights_only=True)
    for name in ("kept", "start"):
        weights = fields.pop(name)
        fields[f"{name}_student"] = {
            key.removeprefix("student."): tensor for key, tensor in weights.items() if key.startswith("student.")
        }
    torch.save(fields, run.state_file)
    resumed, undisturbed = student(), student()
    assert len(run_stage(Projecting(resumed), run, Progress())) == 5
    run.state_file.unlink()
    run_stage(Projecting(undisturbed), run, Progress())
    assert all(map(torch.equal, weights_of(resumed), weights_of(undisturbed)))


@pytest.mark.parametrize("settings", [{}, {"keep": "mean", "start_share": 0.25}])
@pytest.mark.parametrize("die_at", [2, 7, 16])
def test_a_resumed_run_equals_an_undisturbed_one_bit_for_bit(
    student: Callable[[], SentenceTransformer],
    make_run: Callable[..., StageRun],
    tmp_path: Path,
    die_at: int,
    settings: dict[str, object],
) -> None:
    undisturbed = student()
    whole = Drift(undisturbed)
    expected = run_stage(whole, make_run(evaluations=4, **settings), Progress())
    (tmp_path / "state.pt").unlink()

    with pytest.raises(KeyboardInterrupt):
        run_stage(Drift(student(), die_at=die_at), make_run(evaluations=4, **settings), Progress())
    torch.manual_seed(99)  # another process would have another random state
    resumed = student()
    rest = Drift(resumed)
    history = run_stage(rest, make_run(evaluations=4, **settings), Progress())

    assert all(
        torch.equal(left, right) for left, right in zip(weights_of(resumed), weights_of(undisturbed), strict=True)
    )
    assert whole.steps[-len(rest.steps) :] == rest.steps
    assert [entry["score"] for entry in history] == [entry["score"] for entry in expected]


def test_a_finished_stage_is_not_run_again(
    student: Callable[[], SentenceTransformer], make_run: Callable[..., StageRun]
) -> None:
    run_stage(Drift(student()), make_run(), Progress())
    again = Drift(student())
    run_stage(again, make_run(), Progress())
    assert again.steps == []


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_checkpoint(
    student: Callable[[], SentenceTransformer], make_run: Callable[..., StageRun], tmp_path: Path
) -> None:
    told = r"the loss is nan.*--set distil\.learning_rate=…\) and another --out"
    with pytest.raises(DivergedError, match=told):
        run_stage(Drift(student(), explode_at=10), make_run(evaluations=4), Progress())
    before = (tmp_path / "state.pt").read_bytes()
    resumed = Drift(student())
    run_stage(resumed, make_run(evaluations=4), Progress())
    assert len(resumed.steps) == 8
    assert before != (tmp_path / "state.pt").read_bytes()


def test_a_gradient_that_is_no_number_leaves_the_weights_alone(
    student: Callable[[], SentenceTransformer], make_run: Callable[..., StageRun]
) -> None:
    class Cliff(Drift):
        """A loss of 0 with an infinite slope."""

        def loss(self, rows: Rows) -> Tensor:
            """See `Objective`."""
            return (super().loss(rows) * 0).sqrt()

    trained = student()
    before = weights_of(trained)
    with pytest.raises(DivergedError, match="the gradient's norm is nan"):
        run_stage(Cliff(trained), make_run(), Progress())
    assert all(map(torch.equal, weights_of(trained), before))


def test_a_damaged_checkpoint_is_named(
    student: Callable[[], SentenceTransformer], make_run: Callable[..., StageRun], tmp_path: Path
) -> None:
    (tmp_path / "state.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(ResumeError, match=r"state\.pt cannot be read"):
        run_stage(Drift(student()), make_run(), Progress())
