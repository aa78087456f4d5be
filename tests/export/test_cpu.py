from pathlib import Path

import pytest

from export.cpu import detect_target, saturates


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "target"),
    [
        ("x86_64", "model name : X\nflags\t\t: fpu avx2 avx512_vnni amx_int8\n", "avx512_vnni"),
        ("x86_64", "model name : avx512_vnni\nflags\t\t: fpu avx2 avx512f\n", "avx2"),
        ("x86_64", "", "avx2"),
        ("x86_64", None, "avx2"),
        ("aarch64", "Features : fp asimd\n", "arm64"),
        ("arm64", None, "arm64"),
    ],
)
def test_the_target_follows_the_processor(
    machine: str, cpuinfo: str | None, target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    if cpuinfo is not None:
        (tmp_path / "cpuinfo").write_text(cpuinfo)
    assert detect_target(tmp_path / "cpuinfo") == target


def test_only_avx2_saturates() -> None:
    assert saturates("avx2")
    assert not saturates("avx512_vnni")
    assert not saturates("arm64")
