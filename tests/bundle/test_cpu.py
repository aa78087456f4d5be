from pathlib import Path

import pytest

from bundle.cpu import Cpu, Target, detect_cpu, features, saturates, suits


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
    assert detect_cpu(tmp_path / "cpuinfo") == target


@pytest.mark.parametrize(
    ("cpuinfo", "found"),
    [
        ("flags\t\t: fpu amx_int8 avx2 avx512_vnni\nflags\t\t: fpu\n", ("avx2", "avx512_vnni", "amx_int8")),
        ("Features\t: fp asimd i8mm\n", ("asimd", "i8mm")),
        ("", ()),
    ],
)
def test_features_are_those_that_make_arithmetic_fast(cpuinfo: str, found: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    assert features(tmp_path / "cpuinfo") == found


def test_only_avx2_saturates() -> None:
    assert saturates("avx2")
    assert not saturates("avx512_vnni")
    assert not saturates("arm64")


@pytest.mark.parametrize(
    ("target", "right_on"),
    [
        ("any", {"avx2", "avx512_vnni", "arm64"}),
        ("avx2", {"avx2", "avx512_vnni", "arm64"}),
        ("avx512_vnni", {"avx512_vnni", "arm64"}),
        ("arm64", {"avx512_vnni", "arm64"}),
    ],
)
def test_eight_bits_of_weight_are_right_where_sums_are_wide(target: Target, right_on: set[Cpu]) -> None:
    cpus: tuple[Cpu, ...] = ("avx2", "avx512_vnni", "arm64")
    assert {cpu for cpu in cpus if suits(target, cpu)} == right_on
