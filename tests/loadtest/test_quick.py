"""The ratios of a commit, from stand-ins whose speeds are known."""

import json
import sys
from pathlib import Path

import pytest

from loadtest import quick
from loadtest.peers.systems import OURS, STUDENT, System
from tests.loadtest.test_peers import SHIPPED, STAND_IN

FAST_ENGINE = """
import json, sys
sys.stdin.readline()
print("null", flush=True)
for line in sys.stdin:
    what, seconds = json.loads(line)
    print(1e-6 if what == "one" else 1e9, flush=True)
"""


@pytest.fixture(autouse=True)
def _servers(monkeypatch: pytest.MonkeyPatch) -> None:
    def stand_ins(_teacher: Path, _student: Path) -> list[System]:
        command = (sys.executable, "-c", STAND_IN, "{port}", "good")
        return [System(name=name, title=name, command=command) for name in (OURS, STUDENT)]

    monkeypatch.setattr(quick, "our_systems", stand_ins)


def test_a_commits_ratios_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = tmp_path / "engine.py"
    engine.write_text(FAST_ENGINE)
    monkeypatch.setattr(quick, "commit", lambda: "abc1234")
    options = ["--student", str(SHIPPED), "--engine", str(engine), "--rounds", "2", "--seconds", "0.1"]
    assert quick.main([*options, "--out", str(tmp_path / "quick")]) == 0
    record = json.loads((tmp_path / "quick" / "abc1234.json").read_text())
    ratios = record["ratios"]
    assert len(ratios) == 4
    assert all(0 < ratio["min"] <= ratio["median"] <= ratio["max"] for ratio in ratios.values())
    # An engine a thousand times as fast as any server: both shares of it are next to nothing.
    shares = [ratio["max"] for name, ratio in ratios.items() if "bare engine" in name]
    assert len(shares) == 2
    assert max(shares) < 0.1
