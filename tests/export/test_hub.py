import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bundle.layout import open_bundle
from tests.hub import Hub, running_hub

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as running:
        yield running


def export(*arguments: str, hub: Hub, home: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """`python -m export`, for which `hub` is the model hub, with a cache of its own and no data."""
    (home / "data").mkdir(parents=True, exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_HOME": str(home), "DISCO_DATA": str(home / "data")} | hub.environment | changes
    return subprocess.run(
        [sys.executable, "-m", "export", *arguments],
        check=False,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_published_bundle_comes_back_as_it_was_and_can_be_exported_again(
    tiny_teacher: Path, hub: Hub, tmp_path: Path
) -> None:
    first = tmp_path / "first"
    options = ["--push-to-hub", "me/tiny", "--private", "--include-weights", "--precision", "int8"]
    done = export(str(tiny_teacher), "--out", str(first), *options, hub=hub, home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    assert f"published: {hub.endpoint}/me/tiny" in done.stdout
    files = {path.relative_to(first).as_posix(): path.read_bytes() for path in first.rglob("*") if path.is_file()}
    assert hub.models["me/tiny"] == files
    assert hub.private == {"me/tiny"}
    assert sum(request.endswith("/commit/main") for request in hub.requests) == 1, "whole or not at all"

    # Another machine, whose cache is empty.
    second = tmp_path / "second"
    done = export("me/tiny", "--out", str(second), "--precision", "int8", hub=hub, home=tmp_path / "elsewhere")
    assert done.returncode == 0, done.stderr
    assert (second / "onnx/model.onnx").read_bytes() == (first / "onnx/model.onnx").read_bytes()
    assert open_bundle(second).manifest.name == "tiny"


def test_without_a_token_nothing_begins(tiny_teacher: Path, hub: Hub, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    done = export(
        str(tiny_teacher), "--out", str(out), "--push-to-hub", "me/tiny", hub=hub, home=tmp_path / "home", HF_TOKEN=""
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "needs a token that may write: set HF_TOKEN" in done.stderr
    assert not out.exists()
    assert hub.requests == []


def test_a_hub_that_refuses_leaves_the_bundle(tiny_teacher: Path, hub: Hub, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    options = ["--push-to-hub", "me/tiny", "--precision", "fp32"]
    done = export(str(tiny_teacher), "--out", str(out), *options, hub=hub, home=tmp_path / "home", HF_TOKEN="hf_old")
    assert done.returncode == 4
    assert done.stderr.count("\n") == 1
    assert f"{out} is complete, but pushing it to me/tiny failed: 401" in done.stderr
    assert f"`hf upload me/tiny {out}`" in done.stderr
    assert "hf_old" not in done.stdout + done.stderr
    assert open_bundle(out).manifest.name == "tiny-teacher"
