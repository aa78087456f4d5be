import subprocess
from pathlib import Path

import pytest

from bundle import provenance
from bundle.provenance import available_cores, commit, versions


def test_the_commit_is_the_checkouts_and_none_outside_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit() is None
    author = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], [*author, "commit", "-q", "--allow-empty", "-m", "first"], ["tag", "v1"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    made = commit()
    assert made is not None
    assert len(made) >= 7
    assert head.startswith(made)
    (tmp_path / "new").write_text("x")
    subprocess.run(["git", "add", "new"], cwd=tmp_path, check=True)
    assert commit() == f"{made}-dirty"


def test_a_machine_without_git_has_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert commit() is None


def test_the_machine_is_told() -> None:
    assert available_cores() >= 1
    assert set(versions(["numpy"])) == {"numpy", "python"}
