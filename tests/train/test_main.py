import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bundle.layout import Bundle
from train.__main__ import main
from train.recipe import RECIPES


def test_help_does_not_load_torch() -> None:
    code = """
import sys
from train.__main__ import main
try:
    main(["--help"])
except SystemExit:
    print("torch" in sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "usage: python -m train" in result.stdout
    assert result.stdout.splitlines()[-1] == "False"


def test_downloads_use_hf_transfer() -> None:
    code = """
from train.__main__ import main
main(["recipes"])
from huggingface_hub import constants
print(constants.HF_HUB_ENABLE_HF_TRANSFER)
"""
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_ENABLE_HF_TRANSFER"}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert result.stdout.splitlines()[-1] == "True"


def test_recipes_are_listed_with_their_purpose(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    listed = {line.split()[0] for line in capsys.readouterr().out.splitlines()}
    assert listed == {path.stem for path in RECIPES.glob("*.toml")}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["no-such-recipe", "--out", "x"], "no recipe no-such-recipe"),
        (["demo", "--out", "x", "--set", "distil.speed=9"], "distil.speed"),
        (["evaluate", "x"], "no STS data"),
    ],
)
def test_problems_of_input_are_one_message_and_exit_code_2(
    arguments: list[str],
    complaint: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("train.commands.data_directory", lambda: None)
    assert main(arguments) == 2
    assert complaint in capsys.readouterr().err


def test_models_and_bundles_are_evaluated_alike(
    tiny_teacher: Path, tiny_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "data" / "sts"
    folder.mkdir(parents=True)
    pairs = [("the cat sat", "the cat sat", 5), ("the cat sat", "a dog ran", 2), ("red book", "music at night", 0)]
    lines = [json.dumps({"sentence1": a, "sentence2": b, "score": score}) for a, b, score in pairs]
    for name in ("STS12.all", "STS13.all", "STS14.all", "STS15.all", "STS16.all", "STSB.test", "SICK.test"):
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    figures = tmp_path / "figures.json"
    models = [str(tiny_teacher), str(tiny_bundle.path)]
    assert main(["evaluate", *models, "--data", str(tmp_path / "data"), "--json", str(figures)]) == 0
    written = json.loads(figures.read_text())
    assert list(written) == models
    for row in written.values():
        assert len(row["sts"]["tasks"]) == 7
        assert row["sts"]["mean"] == pytest.approx(sum(row["sts"]["tasks"].values()) / 7)
        assert "retrieval" not in row
    assert "mean" in capsys.readouterr().out
