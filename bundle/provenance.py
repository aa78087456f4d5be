"""What a measured figure depends on besides its settings: commit, processor, library versions. Loads none of them."""

import os
import platform
import subprocess
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path


def commit() -> str | None:
    """The checkout's commit, with `-dirty` where tracked files differ from it; None outside of one."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # a machine without git
        return None
    return done.stdout.strip() or None


def processor() -> str | None:
    """The CPU's model, None where the system does not tell."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or None)


def available_cores() -> int:
    """How many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def versions(libraries: Iterable[str]) -> dict[str, str]:
    """Of installed libraries and of Python."""
    return {library: version(library) for library in libraries} | {"python": platform.python_version()}
