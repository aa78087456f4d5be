from pathlib import Path

import msgspec
import numpy as np
import pytest

from loadtest.histogram import Histogram
from loadtest.merge import main


def write(path: Path, seconds: float) -> str:
    path.write_bytes(msgspec.json.encode({"format": 1, "latency_histogram": Histogram.of(np.full(100, seconds))}))
    return str(path)


def test_reports_are_added_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([write(tmp_path / "a.json", 0.001), write(tmp_path / "b.json", 1.0)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "200 requests succeeded"
    milliseconds = {line.split()[0]: float(line.split()[1]) for line in lines[1:]}
    assert milliseconds["p50"] == pytest.approx(1, rel=0.011)
    assert milliseconds["p90"] == pytest.approx(1_000, rel=0.011)


def test_what_is_no_report_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.json").write_text("{}")
    assert main([str(tmp_path / "c.json")]) == 1
    assert "c.json is not a report of one run" in capsys.readouterr().err
    assert main([str(tmp_path / "absent.json")]) == 1
    assert "absent.json: No such file" in capsys.readouterr().err
