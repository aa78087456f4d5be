"""Which instruction set an int8 graph is made for, and whether it is right on this machine. Knows CPUs, no graphs."""

import platform
from pathlib import Path
from typing import Literal

Cpu = Literal["avx2", "avx512_vnni", "arm64"]
Target = Literal["any", "cuda"] | Cpu

# What decides which engine and which numbers are fast, by the names that Linux gives them on x86 and ARM.
_FAST_ARITHMETIC = (
    *("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8"),
    *("asimd", "asimddp", "bf16", "i8mm", "sve"),
)


def detect_cpu(cpuinfo: Path = Path("/proc/cpuinfo")) -> Cpu:
    """What this machine is; `avx2`, whose graphs are right on every processor, where it cannot be told."""
    if platform.machine().lower() in {"aarch64", "arm64"}:
        return "arm64"
    return "avx512_vnni" if "avx512_vnni" in _flags(cpuinfo) else "avx2"


def features(cpuinfo: Path = Path("/proc/cpuinfo")) -> tuple[str, ...]:
    """What of this CPU's arithmetic matters for speed; machines that agree in it choose alike."""
    found = _flags(cpuinfo)
    return tuple(name for name in _FAST_ARITHMETIC if name in found)


def saturates(cpu: Cpu) -> bool:
    """Whether int8 products overflow their 16-bit sums there, so that weights must keep to 7 bits.

    AVX2 multiplies with VPMADDUBSW, which adds two products in 16 bits; VNNI and ARM add in 32.
    """
    return cpu == "avx2"


def suits(target: Target, cpu: Cpu) -> bool:
    """Whether a graph made for `target` is for `cpu` too: 8-bit weights need sums of 32 bits, and no GPU is a CPU."""
    if target == "cuda":
        return False
    return target == "any" or saturates(target) or not saturates(cpu)


def _flags(cpuinfo: Path) -> set[str]:
    if not cpuinfo.is_file():
        return set()
    lines = (line for line in cpuinfo.read_text().splitlines() if line.startswith(("flags", "Features")))
    return set(next(lines, "").partition(":")[2].split())
