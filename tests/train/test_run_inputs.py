import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bundle.layout import sha256_of
from tests.train.conftest import dying_after
from train.config import Recipe
from train.edits import VERSION as EDITS_VERSION
from train.errors import ResumeError
from train.recipe import parse_recipe
from train.run_inputs import RunInputs, inputs_of, settle_inputs
from train.stages import train

BEGUN = RunInputs({"a.txt": {"sha256": "1"}}, {"big": "2"}, "STSB.dev", {"torch": "3"})


def test_every_source_of_every_stage_is_an_input(
    make_recipe: Callable[..., Recipe], texts_file: Path, pairs_file: Path, tiny_teacher: Path, tmp_path: Path
) -> None:
    files = {name: tmp_path / f"{name}.tsv" for name in ("teacher", "pretrain", "distil")}
    for name, file in files.items():
        file.write_text(pairs_file.read_text() + f"{name}\tx\ty\n")
    document = make_recipe().model_dump(mode="json")
    stages: dict[str, Any] = {
        name: {"examples": 1, "max_length": 16, "pairs": [{"path": str(file)}]} for name, file in files.items()
    }
    document["teacher"]["finetune"], document["pretrain"] = stages["teacher"], stages["pretrain"]
    document["distil"]["pairs"] = stages["distil"]["pairs"]
    document["distil"]["texts"] += [{"path": "hub:a/b", "split": split, "config": "c"} for split in ("train", "test")]
    document["distil"]["texts"] += [{"path": "hub:a/b", "edits": 2}]
    found = inputs_of(parse_recipe(document, source="test"), None, [tiny_teacher], "STSB.dev")
    read = [texts_file, pairs_file, *files.values()]
    assert found.data == {str(file): {"sha256": sha256_of(file)} for file in read} | {
        "hub:a/b (config=c)": {"source": "hub:a/b", "split": "train", "config": "c"},
        "hub:a/b (config=c, split=test)": {"source": "hub:a/b", "split": "test", "config": "c"},
        "hub:a/b (edits=2)": {"source": "hub:a/b", "split": "train", "edits": f"2 copies, version {EDITS_VERSION}"},
    }
    assert list(found.teachers) == [str(tiny_teacher)]
    assert {"torch", "python"} < set(found.versions)


def test_what_a_run_was_begun_with_is_what_counts(tmp_path: Path) -> None:
    assert settle_inputs(tmp_path, BEGUN) == (BEGUN, "")
    assert settle_inputs(tmp_path, BEGUN) == (BEGUN, "")
    newer = RunInputs(BEGUN.data, BEGUN.teachers, BEGUN.selection, {"torch": "4"})
    assert settle_inputs(tmp_path, newer) == (BEGUN, "the run was begun with torch 3 (now 4)")


@pytest.mark.parametrize(
    ("now", "complaint"),
    [
        (RunInputs({"a.txt": {"sha256": "9"}}, BEGUN.teachers, BEGUN.selection, {}), r"other data: a\.txt changed"),
        (RunInputs({**BEGUN.data, "b": {}}, BEGUN.teachers, BEGUN.selection, {}), "other data: b changed"),
        (RunInputs(BEGUN.data, {"big": "9"}, BEGUN.selection, {}), "other teachers: big changed"),
        (RunInputs(BEGUN.data, BEGUN.teachers, "agreement", {}), "selected by STSB.dev, now it would be agreement"),
    ],
)
def test_a_run_is_not_resumed_with_something_else(tmp_path: Path, now: RunInputs, complaint: str) -> None:
    settle_inputs(tmp_path, BEGUN)
    with pytest.raises(ResumeError, match=complaint):
        settle_inputs(tmp_path, now)
    assert settle_inputs(tmp_path, BEGUN)[0] == BEGUN


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "inputs.json").write_text("{}")
    with pytest.raises(ResumeError, match=r"inputs\.json cannot be read"):
        settle_inputs(tmp_path, BEGUN)


def test_a_student_is_recorded_with_the_data_it_was_begun_with(
    make_recipe: Callable[..., Recipe], texts_file: Path, pairs_file: Path, measures: Path, tmp_path: Path
) -> None:
    recipe, out = make_recipe(distil={"examples": 160}), tmp_path / "student"
    texts = texts_file.read_text()
    with dying_after(1):
        train(recipe, out, data=None, resume=False)
    texts_file.write_text(texts + "one more\n")
    with pytest.raises(ResumeError, match=r"other data: .*texts\.txt changed"):
        train(recipe, out, data=None, resume=True)
    texts_file.write_text(texts)
    with pytest.raises(ResumeError, match=r"now it would be STSB\.dev"):
        train(recipe, out, data=measures, resume=True)
    train(recipe, out, data=None, resume=True)
    data = json.loads((out / "training.json").read_text())["data"]
    assert data == {str(file): {"sha256": sha256_of(file)} for file in (texts_file, pairs_file)}


def test_a_run_that_an_earlier_version_began_is_resumed(
    make_recipe: Callable[..., Recipe], texts_file: Path, tmp_path: Path
) -> None:
    recipe, out = make_recipe(distil={"examples": 160}), tmp_path / "student"
    with dying_after(1):
        train(recipe, out, data=None, resume=False)
    (tmp_path / "student.run" / "inputs.json").unlink()
    train(recipe, out, data=None, resume=True)
    assert str(texts_file) in json.loads((out / "training.json").read_text())["data"]
