"""The command as a whole, with stand-ins for the models' preparation and for the systems."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from loadtest.peers import comparison
from loadtest.peers.__main__ import NOT_RUN, SUCCESS, main
from loadtest.peers.answers import Vectors
from loadtest.peers.settings import Settings
from loadtest.peers.systems import INT8, OURS, Places, Reference, System
from tests.loadtest.test_peers import SHIPPED, STAND_IN

# As STAND_IN, but it answers as many vectors as there are texts; `good` ones or others.
FAITHFUL = STAND_IN.replace(
    'body = b"[[0.6,0.8]]"',
    'import json; inputs = json.loads(asked)["inputs"]; n = 1 if isinstance(inputs, str) else len(inputs); '
    'body = json.dumps([[0.6, 0.8 if mood == "good" else -0.8]] * n).encode()',
)


def stand_in(name: str, mood: str = "good", missing: str | None = None) -> System:
    command = (sys.executable, "-c", FAITHFUL, "{port}", mood)
    return System(name=name, title=name, command=command, least_cosine=INT8, missing=missing)


@pytest.fixture(autouse=True)
def _stand_ins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def prepare(_settings: Settings) -> Places:
        return Places(teacher=SHIPPED, bundle=SHIPPED, student=SHIPPED, requirements=tmp_path, environments=tmp_path)

    def reference_vectors(_places: Places, texts: list[str]) -> dict[Reference, Vectors]:
        return {"teacher": np.array([[0.6, 0.8]] * len(texts), dtype=np.float32)}

    def systems(_places: Places) -> list[System]:
        absent = stand_in("absent", missing="not on the PATH")
        return [stand_in(OURS), stand_in("peer"), stand_in("wrong", "wrong"), stand_in("broken", "broken"), absent]

    monkeypatch.setattr(comparison, "prepare", prepare)
    monkeypatch.setattr(comparison, "reference_vectors", reference_vectors)
    monkeypatch.setattr(comparison, "systems", systems)


def test_who_can_be_measured_is_and_the_others_are_absent_with_the_reason(tmp_path: Path) -> None:
    out = tmp_path / "peers.json"
    options = ["--rounds", "2", "--seconds", "0.1", "--loads", "8x1-short", "--loads", "4x32-short"]
    assert main([*options, "--json", str(out)]) == SUCCESS
    record = json.loads(out.read_text())
    assert {(row["system"], row["load"]) for row in record["rows"]} == {
        (name, load) for name in (OURS, "peer") for load in ("8x1-short", "4x32-short")
    }
    assert all(row["rounds"] == 2 and row["figures"]["failed"] == 0 for row in record["rows"])
    assert all(row["throughput_of_ours"]["median"] == 1 for row in record["rows"] if row["system"] == OURS)
    reasons = {name: system["absent"] for name, system in record["systems"].items()}
    assert reasons[OURS] is reasons["peer"] is None
    assert "computes something else" in reasons["wrong"]
    assert "no such model" in reasons["broken"]
    assert reasons["absent"] == "not on the PATH"
    assert sys.executable not in out.read_text()


def test_a_load_that_does_not_exist(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--loads", "7x7", "--json", str(tmp_path / "peers.json")]) == NOT_RUN
    assert "8x1-short" in capsys.readouterr().err
    assert not (tmp_path / "peers.json").exists()


def test_bad_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--rounds", "0"]) == NOT_RUN
    assert "rounds" in capsys.readouterr().err
