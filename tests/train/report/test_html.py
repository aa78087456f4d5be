import base64
import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.page import Page
from tests.train.report.test_record import write_record
from train.__main__ import main
from train.report.html import render_report
from train.report.record import read_record

SHIPPED = Path(__file__).parents[3] / "students" / "disco-minilm-l3"


def test_the_shipped_students_report_has_everything_and_needs_no_network() -> None:
    record = json.loads((SHIPPED / "training.json").read_text())
    page = Page(render_report(read_record(SHIPPED)))
    assert page.open == []
    for model in ("student", "teacher"):
        figures = [*record["sts"][model]["tasks"].values(), record["sts"][model]["mean"]]
        assert [model, *(f"{figure:.2f}" for figure in figures)] in page.rows
    gain = record["sts"]["student"]["mean"] - record["sts"]["teacher"]["mean"]
    assert next(row for row in page.rows if row[0] == "difference")[-1] == f"{gain:+.2f}"
    recipe = record["recipe"]
    stages = [stage or {} for stage in (recipe["distil"], recipe["finetune"], recipe["teacher"]["finetune"])]
    sources = [source for stage in stages for source in (*stage.get("texts", ()), *stage.get("pairs", ()))]
    for source in sources:
        rows = [row for row in page.rows if source["path"] in row]
        assert len(rows) == sum(other["path"] == source["path"] for other in sources)
        assert any(source["license"] in row for row in rows)
        assert all(record["data"][source["path"]]["sha256"] in row for row in rows)
    assert ["distil.queue_size", "16384"] in page.rows
    assert ["torch", record["versions"]["torch"]] in page.rows
    for entry in record["history"][1:]:
        assert any(f"{entry['examples']:,}" in row and f"{entry['score']:.2f}" in row for row in page.rows)
    assert len(page.addresses) == len({entry["stage"] for entry in record["history"]})
    for address in page.addresses:
        kind, _, content = address.partition("base64,")
        assert kind == "data:image/svg+xml;"
        assert ET.fromstring(base64.b64decode(content)).tag == "{http://www.w3.org/2000/svg}svg"


def test_a_run_without_sts_terms_or_hashes_is_reported(tmp_path: Path) -> None:
    history = [{"stage": "finetune", "examples": 0, "score": None}]
    recipe = {"distil": None, "finetune": {"pairs": [{"path": "hub:x", "columns": ["a", "b"]}]}}
    page = Page(render_report(read_record(write_record(tmp_path, history=history, recipe=recipe))))
    assert "No STS data was at hand when this model was trained." in page.words
    assert ["finetune", "hub:x", "not stated", "columns", '["a","b"]', "not recorded"] in page.rows
    assert ["distil", "null"] in page.rows


def test_a_page_tells_which_weights_were_kept(tmp_path: Path) -> None:
    recipe = {"distil": {"keep": "mean", "start_share": 0.3}, "finetune": {"keep": "last"}}
    page = " ".join(Page(render_report(read_record(write_record(tmp_path, recipe=recipe)))).words)
    assert "the mean of the weights at this evaluation and those before; the last mean was kept." in page
    assert page.count("70% of the trained weights and 30% of those from before the stage.") == 1
    assert page.count("the last weights were kept.") == 1


def test_names_do_not_become_part_of_the_page(tmp_path: Path) -> None:
    evil = "</code><script>alert(1)</script>"
    recipe = {"distil": {"texts": [{"path": evil, "license": evil}], "note": evil}}
    record = read_record(write_record(tmp_path, name=evil, teacher=evil, selection=evil, recipe=recipe))
    source = render_report(record)
    assert "<script" not in source
    assert Page(source).words.count(evil) >= 4


def test_the_command_writes_where_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_record(tmp_path / "student")
    assert main(["report", str(folder)]) == 0
    assert main(["report", str(folder), "--out", str(tmp_path / "elsewhere.html")]) == 0
    assert (folder / "report.html").read_bytes() == (tmp_path / "elsewhere.html").read_bytes()
    assert main(["report", str(tmp_path)]) == 2
    assert "has no training.json" in capsys.readouterr().err


def test_a_report_needs_no_torch(tmp_path: Path) -> None:
    code = f"""
import sys
from train.__main__ import main
main(["report", {str(SHIPPED)!r}, "--out", {str(tmp_path / "report.html")!r}])
print("torch" in sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "False"
