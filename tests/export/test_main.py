import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bundle.layout import open_bundle
from export.__main__ import main

ROOT = Path(__file__).resolve().parents[2]


def start(*arguments: str, temporary: Path) -> subprocess.Popen[str]:
    """`python -m export` in a process of its own, without STS data, its temporary folders below `temporary`."""
    data, scratch = temporary / "data", temporary / "scratch"
    for folder in (data, scratch):
        folder.mkdir()
    return subprocess.Popen(
        [sys.executable, "-m", "export", *arguments],
        cwd=ROOT,
        env={**os.environ, "DISCO_DATA": str(data), "TMPDIR": str(scratch), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_command_writes_a_bundle(tiny_teacher: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "bundle"
    process = start(str(tiny_teacher), "--out", str(out), "--precision", "int8", "--target", "avx2", temporary=tmp_path)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    assert stderr == ""
    assert "PASS" in stdout
    assert "FAIL" not in stdout
    assert [(graph.precision, graph.target) for graph in open_bundle(out).manifest.graphs] == [("int8", "avx2")]
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_failed_gate_exits_3_with_the_table(tiny_teacher: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "bundle"
    process = start(str(tiny_teacher), "--out", str(out), "--int8-mean", "1", temporary=tmp_path)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 3
    assert "FAIL" in stdout
    assert stderr == "error: tiny-teacher does not meet: int8 mean cosine; no bundle was written\n"
    assert not out.parent.exists()
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_terminated_export_cleans_up(tiny_teacher: Path, tmp_path: Path) -> None:
    process = start(str(tiny_teacher), "--out", str(tmp_path / "out" / "bundle"), temporary=tmp_path)
    assert process.stdout is not None
    while not process.stdout.readline().startswith("2/5"):
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert not (tmp_path / "out").exists()
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing/folder/x", "--out", "y"], "missing/folder/x is neither a folder nor a hub id"),
        (["x", "--out", "y", "--precision", "int4"], "--precision: Input should be 'fp32', 'fp16' or 'int8'"),
        (["x", "--out", "y", "--int8-mean", "1.5"], "--int8-mean: Input should be less than or equal to 1"),
        (["x", "--out", "y", "--threads", "0"], "--threads: Input should be greater than 0"),
        (["x"], "--out: Field required"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    stderr = capsys.readouterr().err
    assert stderr.startswith(f"error: {message}")
    assert stderr.count("\n") == 1


def test_help_loads_nothing_heavy() -> None:
    code = "import sys; from export.__main__ import main\ntry: main(['--help'])\nfinally: print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "exit codes:" in done.stdout
    assert not {"'torch'", "'numpy'", "'onnxruntime'", "'huggingface_hub'"} & set(
        done.stdout.split("[")[-1].strip("]\n").split(", ")
    )
