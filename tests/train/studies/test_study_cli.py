import json
from pathlib import Path

import pytest

from tests.train.studies.test_study_table import TEACHER, put, row
from train.__main__ import main
from train.studies.study import STUDIES


def test_studies_and_their_variants_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "--list"]) == 0
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()} == {
        path.stem for path in STUDIES.glob("*.toml")
    }
    assert main(["study", "ablation", "--list", "--set", "seed=7"]) == 0
    listed = capsys.readouterr().out
    assert "seed=7" in listed
    assert "ckd-finetuned            from ckd" in listed


def test_rows_become_a_table_and_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = put(tmp_path / "rows", TEACHER, row("queue-0", 80))
    assert main(["study-table", "queue", str(rows), "--out", str(tmp_path / "made")]) == 0
    assert capsys.readouterr().out.splitlines()[3].startswith("| queue-0 | 80.00 |")
    assert len(json.loads((tmp_path / "made" / "queue.json").read_text())["rows"]) == 2
    assert (tmp_path / "made" / "queue.svg").is_file()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["study", "no-such-study", "--out", "x", "--data", "."], "no study no-such-study"),
        (["study", "queue", "--out", "x"], "a study is scored on STS and retrieval"),
        (["study-table", "queue", "nowhere"], "no rows of queue in nowhere"),
    ],
)
def test_problems_of_input_are_told(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert complaint in capsys.readouterr().err


def test_a_study_needs_a_place(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["study", "queue"])
    assert "a study and --out are needed" in capsys.readouterr().err
