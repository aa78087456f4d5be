from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.train.test_loop import Drift, weight_norm
from train.checkpoint import HistoryEntry
from train.config import Recipe, Student
from train.loop import StageRun, run_stage
from train.progress import Progress
from train.report.tensorboard import StageLog
from train.student import make_student


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows of `folder`: (examples, value) by tag."""
    events = EventAccumulator(str(folder)).Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


@pytest.fixture(autouse=True)
def passing_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorBoard reads event files in the order of the seconds in their names."""
    clock = SimpleNamespace(time=count(1_700_000_000).__next__)
    monkeypatch.setattr("tensorboard.summary.writer.event_file_writer.time", clock)


def test_figures_become_curves_groups_of_them_too(tmp_path: Path) -> None:
    with StageLog(tmp_path, seen=0) as log:
        log.write(0, {"score": 2.0})
        log.write(8, {"loss": 0.5, "terms": {"ckd": 0.25, "cosine": 0.125}})
        assert curves(tmp_path)["loss"] == [(8, 0.5)]  # at once, for whoever watches
    assert curves(tmp_path) == {
        "score": [(0, 2.0)],
        "loss": [(8, 0.5)],
        "terms/ckd": [(8, 0.25)],
        "terms/cosine": [(8, 0.125)],
    }


@pytest.mark.parametrize(
    ("seen", "kept"),
    [(0, []), (8, [(0, 1.0), (8, 2.0)]), (16, [(0, 1.0), (8, 2.0), (16, 3.0)])],
)
def test_what_the_checkpoint_has_not_seen_is_dropped(tmp_path: Path, seen: int, kept: list[tuple[int, float]]) -> None:
    with StageLog(tmp_path, seen=0) as log:
        for examples, score in [(0, 1.0), (8, 2.0), (16, 3.0)]:
            log.write(examples, {"score": score})
    with StageLog(tmp_path, seen=seen) as log:
        log.write(seen + 4, {"score": 9.0})
    assert curves(tmp_path)["score"] == [*kept, (seen + 4, 9.0)]


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with StageLog(None, seen=0) as log:
        log.write(0, {"score": 1.0})
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def stage(tiny_teacher: Path, tmp_path: Path, make_recipe: Callable[..., Recipe]) -> Callable[..., list[HistoryEntry]]:
    schedule = make_recipe().distil
    assert schedule is not None
    schedule = schedule.model_copy(update={"examples": 512, "batch_size": 8, "evaluations": 4})

    def make(name: str, **changes: int) -> list[HistoryEntry]:
        objective = Drift(make_student(Student(layers=(0,)), tiny_teacher, tmp_path), **changes)
        run = StageRun("distil", schedule, 0, False, weight_norm, tmp_path / f"{name}.pt", tmp_path / name)
        return run_stage(objective, run, Progress())

    return make


@pytest.mark.parametrize("die_at", [3, 13, 45])
def test_a_resumed_run_logs_what_an_undisturbed_one_does(
    stage: Callable[..., list[HistoryEntry]], tmp_path: Path, die_at: int
) -> None:
    stage("whole")
    with pytest.raises(KeyboardInterrupt):
        stage("broken", die_at=die_at)
    stage("broken")
    whole, broken = curves(tmp_path / "whole"), curves(tmp_path / "broken")
    assert [examples for examples, _ in whole["score"]] == [0, 128, 256, 384, 512]
    assert [examples for examples, _ in whole["loss"]] == [80, 128, 208, 256, 336, 384, 464, 512]
    assert set(whole) == {"score", "loss", "learning_rate", "examples_per_second"}
    for tag in set(whole) - {"examples_per_second"}:
        assert broken[tag] == whole[tag]


def test_a_point_is_the_mean_since_the_one_before(stage: Callable[..., list[HistoryEntry]], tmp_path: Path) -> None:
    history = stage("whole")
    (_, first), (_, second), *_ = curves(tmp_path / "whole")["loss"]
    assert first > second
    assert history[1]["loss"] == pytest.approx((80 * first + 48 * second) / 128)
