import errno
import json
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import count
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from train.__main__ import main
from train.batches import Position
from train.checkpoint import StageState, load_state, save_state
from train.config import Recipe, Student
from train.errors import DiskFullError
from train.storage import full_disk_told
from train.student import make_student, save_student


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """Let writes beyond `size` bytes of a file fail: the nearest thing to a full disk that needs no disk."""
    _, hard = before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def state(examples: int) -> StageState:
    weights = {"weights": torch.arange(50_000.0)}
    return StageState(Position(examples=examples), weights, {}, torch.get_rng_state(), 1.0, weights, {}, [])


def hiding(error: Exception) -> Exception:
    wrapped = RuntimeError("unexpected pos 704 vs 598")
    wrapped.__context__ = error
    return wrapped


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        hiding(OSError(errno.ENOSPC, "No space left on device")),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_told_with_folder_room_and_way_on(error: Exception, tmp_path: Path) -> None:
    with (
        pytest.raises(DiskFullError, match=rf"write to {tmp_path} \([\d,]+ MB are free\).*--resume") as told,
        full_disk_told(tmp_path),
    ):
        raise error
    assert told.value.__cause__ is error


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "Permission denied"), OSError("?"), RuntimeError("a bug")])
def test_other_errors_stay_as_they_are(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(type(error)) as raised, full_disk_told(tmp_path):
        raise error
    assert raised.value is error


@pytest.mark.parametrize("room", [0, 1000, 150_000])
def test_a_checkpoint_without_room_leaves_the_one_before(tmp_path: Path, room: int) -> None:
    file = tmp_path / "state.pt"
    save_state(state(8), file)
    with pytest.raises(DiskFullError), full_disk_told(tmp_path), no_file_above(room):
        save_state(state(16), file)
    kept = load_state(file)
    assert kept is not None
    assert kept.position.examples == 8
    assert torch.equal(kept.kept["weights"], torch.arange(50_000.0))
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]


def test_a_student_without_room_is_told_too(tiny_teacher: Path, tmp_path: Path) -> None:
    student = make_student(Student(layers=(0,)), tiny_teacher, tmp_path / "scratch")
    with pytest.raises(DiskFullError), full_disk_told(tmp_path), no_file_above(10_000):
        save_student(student, Student(layers=(0,)), tmp_path / "student")


def test_a_run_stops_in_one_message_and_goes_on(
    make_recipe: Callable[..., Recipe],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = make_recipe(distil={"examples": 160, "evaluations": 4}).model_copy(update={"finetune": None})
    monkeypatch.setattr("train.__main__.load_recipe", lambda *_: recipe)
    saves = count(1)

    def save(state: StageState, path: Path) -> None:
        with no_file_above(1000) if next(saves) == 3 else nullcontext():
            save_state(state, path)

    monkeypatch.setattr("train.loop.save_state", save)
    out, checkpoint = tmp_path / "student", tmp_path / "student.run" / "distil.pt"
    assert main(["tiny", "--out", str(out)]) == 2
    assert f"error: no room left to write to {out}.run" in capsys.readouterr().err
    assert not out.exists()
    kept = load_state(checkpoint)
    assert kept is not None
    assert len(kept.history) == 3

    assert main(["tiny", "--out", str(out), "--resume"]) == 0
    history = json.loads((out / "training.json").read_text())["history"]
    assert len(history) == 5
    assert [entry["score"] for entry in history[:3]] == [entry["score"] for entry in kept.history]
