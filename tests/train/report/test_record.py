import json
from pathlib import Path
from typing import Any

import pytest

from train.errors import ModelError
from train.report.record import Evaluation, read_record


def write_record(folder: Path, **changes: Any) -> Path:
    """A small finished run's training.json in `folder`."""
    record: dict[str, Any] = {
        "name": "tiny",
        "teacher": "big",
        "finished": "2026-01-01T00:00:00+00:00",
        "parameters": 1234,
        "selection": "STSB.dev",
        "recipe": {"seed": 1, "distil": {"texts": [{"path": "a.txt", "license": "CC0", "limit": 5, "field": None}]}},
        "data": {"a.txt": {"sha256": "abc", "field": "text"}},
        "versions": {"torch": "2"},
        "history": [
            {"stage": "distil", "examples": 0, "score": 50.0},
            {"stage": "distil", "examples": 16, "loss": 2.0, "terms": {"ckd": 1.5}, "score": 60.0},
            {"stage": "distil", "examples": 32, "loss": 1.0, "terms": {"ckd": 0.5}, "score": 55.0},
            {"stage": "finetune", "examples": 0, "score": 60.0},
        ],
        "a field of tomorrow": 1,
    }
    folder.mkdir(exist_ok=True)
    (folder / "training.json").write_text(json.dumps(record | changes))
    return folder


def test_a_record_is_read_back_by_stage(tmp_path: Path) -> None:
    record = read_record(write_record(tmp_path))
    assert [entry.examples for entry in record.stages["distil"]] == [0, 16, 32]
    assert record.stages["distil"][1] == Evaluation("distil", 16, 60.0, loss=2.0, terms={"ckd": 1.5})
    assert record.stages["finetune"] == [Evaluation("finetune", 0, 60.0)]


@pytest.mark.parametrize(
    ("scores", "recipe", "kept"),
    [
        ([None, 2.0, 3.0, None, 3.0, 1.0], {}, 2),
        ([None], {}, 0),
        ([1.0, 3.0, 2.0], {"distil": {"keep": "best"}}, 1),
        ([1.0, 3.0, 2.0], {"distil": {"keep": "last"}}, 2),
        ([1.0, 3.0, 2.0], {"distil": {"keep": "mean"}}, 2),
        ([1.0, 3.0, 2.0], {"distil": None}, 1),
    ],
)
def test_the_kept_weights_are_the_first_of_the_best_or_the_last(
    tmp_path: Path, scores: list[float | None], recipe: dict[str, object], kept: int
) -> None:
    history = [{"stage": "distil", "examples": examples, "score": score} for examples, score in enumerate(scores)]
    record = read_record(write_record(tmp_path, history=history, recipe=recipe))
    assert record.kept("distil").examples == kept


def test_the_stage_of_the_teacher_has_its_settings_with_the_teacher(tmp_path: Path) -> None:
    history = [{"stage": "teacher", "examples": examples, "score": -examples} for examples in range(3)]
    for keep, kept in (("best", 0), ("last", 2)):
        recipe = {"teacher": {"finetune": {"keep": keep}}}
        assert read_record(write_record(tmp_path, history=history, recipe=recipe)).kept("teacher").examples == kept


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, r"no training\.json; is it a student"),
        (b"{", r"training\.json is not a training record"),
        (b"{}", "missing required field `name`"),
        (b'"\xff"', "is not a training record"),
    ],
)
def test_what_is_no_record_is_named(tmp_path: Path, content: bytes | None, complaint: str) -> None:
    if content is not None:
        (tmp_path / "training.json").write_bytes(content)
    with pytest.raises(ModelError, match=complaint):
        read_record(tmp_path)
