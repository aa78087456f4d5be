"""Which instruction set an int8 graph is made for, and whether it is right on this machine. Knows CPUs, no graphs."""

import platform
from pathlib import Path
from typing import Literal

Cpu = Literal["avx2", "avx512_vnni", "arm64"]
Target = Literal["any"] | Cpu


def detect_cpu(cpuinfo: Path = Path("/proc/cpuinfo")) -> Cpu:
    """What this machine is; `avx2`, whose graphs are right on every processor, where it cannot be told."""
    if platform.machine().lower() in {"aarch64", "arm64"}:
        return "arm64"
    return "avx512_vnni" if "avx512_vnni" in _flags(cpuinfo) else "avx2"


def saturates(cpu: Cpu) -> bool:
    """Whether int8 products overflow their 16-bit sums there, so that weights must keep to 7 bits.

    AVX2 multiplies with VPMADDUBSW, which adds two products in 16 bits; VNNI and ARM add in 32.
    """
    return cpu == "avx2"


def suits(target: Target, cpu: Cpu) -> bool:
    """Whether a graph made for `target` computes the right thing on `cpu`: 8-bit weights need sums of 32 bits."""
    return target == "any" or saturates(target) or not saturates(cpu)


def _flags(cpuinfo: Path) -> set[str]:
    if not cpuinfo.is_file():
        return set()
    lines = (line for line in cpuinfo.read_text().splitlines() if line.startswith("flags"))
    return set(next(lines, "").partition(":")[2].split())
