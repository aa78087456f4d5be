"""Which instruction set an int8 graph is made for. Knows CPUs; does not quantise."""

import platform
from pathlib import Path
from typing import Literal

Target = Literal["avx2", "avx512_vnni", "arm64"]


def detect_target(cpuinfo: Path = Path("/proc/cpuinfo")) -> Target:
    """The target of this machine; `avx2`, which is right on every x86 processor, where it cannot be told."""
    if platform.machine().lower() in {"aarch64", "arm64"}:
        return "arm64"
    return "avx512_vnni" if "avx512_vnni" in _flags(cpuinfo) else "avx2"


def saturates(target: Target) -> bool:
    """Whether int8 products overflow their 16-bit sums there, so that weights must keep to 7 bits.

    AVX2 multiplies with VPMADDUBSW, which adds two products in 16 bits; VNNI and ARM add in 32.
    """
    return target == "avx2"


def _flags(cpuinfo: Path) -> set[str]:
    if not cpuinfo.is_file():
        return set()
    lines = (line for line in cpuinfo.read_text().splitlines() if line.startswith("flags"))
    return set(next(lines, "").partition(":")[2].split())
