from pathlib import Path

import msgspec
import pytest

from bundle.sts import TASKS, StsScores
from train.errors import StudyError
from train.retrieval import RetrievalScores
from train.studies.study import Row, Study, load_study, study_path
from train.studies.table import collect_rows, markdown, plot, read_comparison, write_comparison


@pytest.fixture
def study() -> Study:
    return load_study(study_path("queue"))


def row(variant: str, level: float, **changes: object) -> Row:
    made = Row(
        variant=variant,
        overrides=("distil.queue_size=0",),
        parent=None,
        common=("seed=42",),
        budget="b",
        recipe="r",
        commit="abc1234",
        date="2025-01-02",
        examples=1000,
        seconds=1234.5,
        sts_dev=level,
        sts=StsScores({task: level + number for number, task in enumerate(TASKS)}, level + 3),
        retrieval=RetrievalScores({"medquad": 60.0, "wikinews": 80.0}, 70.0),
        teacher_cosine=0.9,
    )
    return msgspec.structs.replace(made, **changes)


TEACHER = row("teacher", 85, examples=0, seconds=0, teacher_cosine=1.0)


def put(folder: Path, *rows: Row) -> Path:
    folder.mkdir(exist_ok=True)
    for made in rows:
        (folder / f"{made.variant}.json").write_bytes(msgspec.json.encode(made))
    return folder


def test_rows_come_in_the_studys_order_after_the_teachers(study: Study, tmp_path: Path) -> None:
    one = put(tmp_path / "one", row("queue-16384", 82), row("queue-0", 80))
    two = put(tmp_path / "two", TEACHER, row("queue-4096", 81), row("queue-0", 70), row("not-of-this-study", 1))
    comparison = collect_rows(study, [one, two])
    assert [made.variant for made in comparison.rows] == ["teacher", "queue-0", "queue-4096", "queue-16384"]
    assert comparison.rows[1].sts_dev == 70  # of two the later folder's
    assert comparison.common == ("seed=42",)


def test_rows_that_cannot_be_compared_are_refused(study: Study, tmp_path: Path) -> None:
    put(tmp_path, row("queue-0", 80), row("queue-4096", 81, budget="c", common=("seed=43",)))
    with pytest.raises(StudyError, match=r"queue-4096 and queue-0 .* one budget \(seed=43 against seed=42"):
        collect_rows(study, [tmp_path])


def test_missing_and_damaged_rows_are_told(study: Study, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no rows of queue in"):
        collect_rows(study, [tmp_path])
    (tmp_path / "queue-0.json").write_text("{}")
    with pytest.raises(StudyError, match=r"queue-0\.json is no row"):
        collect_rows(study, [tmp_path])


def test_what_is_written_is_read_again(study: Study, tmp_path: Path) -> None:
    comparison = collect_rows(study, [put(tmp_path, TEACHER, row("queue-0", 80))])
    write_comparison(comparison, tmp_path / "made" / "here")
    assert read_comparison(tmp_path / "made" / "here" / "queue.json") == comparison
    assert (tmp_path / "made" / "here" / "queue.svg").read_text() == plot(comparison.rows)


def test_the_table_has_a_line_a_row(study: Study, tmp_path: Path) -> None:
    other = row("queue-0", 80, teacher_cosine=None, commit=None)
    lines = markdown(collect_rows(study, [put(tmp_path, TEACHER, other)])).splitlines()
    assert lines[0].startswith("| variant | STS-B dev | STS12 |")
    assert lines[2] == (
        "| teacher | 85.00 | 85.00 | 86.00 | 87.00 | 88.00 | 89.00 | 90.00 | 91.00 | **88.00** "
        "| 60.00 | 80.00 | **70.00** | 1.000 | – | abc1234 | 2025-01-02 |"
    )
    assert lines[3] == (
        "| queue-0 | 80.00 | 80.00 | 81.00 | 82.00 | 83.00 | 84.00 | 85.00 | 86.00 | **83.00** "
        "| 60.00 | 80.00 | **70.00** | – | 1,234 | – | 2025-01-02 |"
    )
    assert {line.count("|") for line in lines[:4]} == {lines[0].count("|")}


def test_the_plot_names_every_variant_but_the_teacher() -> None:
    drawn = plot([TEACHER, row("queue-0", 80), row("queue-4096", 81)])
    assert drawn.count(">queue-0<") == drawn.count(">queue-4096<") == 1
    assert "seven STS, mean" in drawn
    assert ">teacher<" not in drawn
    assert drawn == plot([TEACHER, row("queue-0", 80), row("queue-4096", 81)])
    assert drawn != plot([TEACHER, row("queue-0", 80), row("queue-4096", 82)])
