"""The teachers' own figures: evaluated once for all that they depend on."""

from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import pytest

from bundle.sts import StsScores, evaluate
from tests.train.conftest import with_default_prompt
from train.config import Teacher
from train.report.teacher_scores import teacher_scores
from train.teacher import TeacherEncoder


@pytest.fixture
def evaluations(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Grows by one with every evaluation."""
    seen: list[Path] = []

    def evaluate(_encode: object, data: Path) -> StsScores:
        seen.append(data)
        return StsScores({"STSB": float(len(seen))}, float(len(seen)))

    monkeypatch.setattr("train.report.teacher_scores.evaluate", evaluate)
    return seen


def test_scores_are_kept(tiny_teacher: Path, measures: Path, evaluations: list[Path]) -> None:
    teacher = Teacher(model=str(tiny_teacher))
    first = teacher_scores([teacher], [tiny_teacher], measures)
    assert teacher_scores([teacher], [tiny_teacher], measures) == first
    assert len(evaluations) == 1


def _other_prompt(teacher: Teacher, folder: Path, data: Path) -> tuple[list[Teacher], list[Path], Path]:
    return [teacher.model_copy(update={"prompt": "query: "})], [folder], data


def _other_weights(teacher: Teacher, folder: Path, data: Path) -> tuple[list[Teacher], list[Path], Path]:
    other = data.parent / "other"
    copytree(folder, other)
    config = other / "config.json"
    config.write_text(config.read_text() + " ")
    return [teacher], [other], data


def _a_prompt_of_its_own(teacher: Teacher, folder: Path, data: Path) -> tuple[list[Teacher], list[Path], Path]:
    return [teacher], [with_default_prompt(folder, data.parent / "own", "the red ")], data


def _other_pairs(teacher: Teacher, folder: Path, data: Path) -> tuple[list[Teacher], list[Path], Path]:
    other = data.parent / "data"
    copytree(data, other)
    file = next((other / "sts").glob("*.jsonl"))
    file.write_text("".join(file.read_text().splitlines(keepends=True)[1:]))
    return [teacher], [folder], other


def _one_more_teacher(teacher: Teacher, folder: Path, data: Path) -> tuple[list[Teacher], list[Path], Path]:
    return [teacher, teacher], [folder, folder], data


@pytest.mark.parametrize(
    "change", [_other_prompt, _other_weights, _a_prompt_of_its_own, _other_pairs, _one_more_teacher]
)
def test_whatever_they_depend_on_makes_others(
    change: Callable[[Teacher, Path, Path], tuple[list[Teacher], list[Path], Path]],
    tiny_teacher: Path,
    measures: Path,
    tmp_path: Path,
    evaluations: list[Path],
) -> None:
    data = tmp_path / "measures-of-one"
    copytree(measures, data)
    teacher = Teacher(model=str(tiny_teacher))
    first = teacher_scores([teacher], [tiny_teacher], data)
    assert teacher_scores(*change(teacher, tiny_teacher, data)) != first
    assert len(evaluations) == 2


@pytest.mark.parametrize("prompt", ["", "a cat "])
def test_the_figures_are_those_of_the_vectors_that_a_student_learns(
    tiny_teacher: Path, measures: Path, tmp_path: Path, prompt: str
) -> None:
    own = with_default_prompt(tiny_teacher, tmp_path / "own", "the red ")
    teacher = Teacher(model=str(own), prompt=prompt)
    encoder = TeacherEncoder(teacher, bf16=False)
    expected = evaluate(lambda texts: encoder.encode(list(texts)), measures)
    assert teacher_scores([teacher], [own], measures).tasks == pytest.approx(expected.tasks, abs=1e-4)
    plain = TeacherEncoder(teacher, bf16=False, folder=tiny_teacher)
    plain.prompt = ""
    assert evaluate(lambda texts: plain.encode(list(texts)), measures).tasks != pytest.approx(expected.tasks, abs=1e-2)
