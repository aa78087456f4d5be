"""What a process and its descendants use, from /proc. Linux only; knows no server."""

import contextlib
import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_PROC = Path("/proc")
# Fields of /proc/PID/stat after the name in brackets, which may itself hold spaces and brackets.
_PARENT, _USER, _SYSTEM, _CHILDREN_USER, _CHILDREN_SYSTEM = 1, 11, 12, 13, 14


def tree(root: int) -> list[int]:
    """The process ids of `root` and of all its living descendants, parents first."""
    children: dict[int, list[int]] = {}
    for folder in _PROC.iterdir():
        if folder.name.isdigit() and (fields := _stat(int(folder.name))):
            children.setdefault(int(fields[_PARENT]), []).append(int(folder.name))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, []))
    return found


def cpu_seconds(pids: list[int]) -> float:
    """Processor time so far, that of ended children included."""
    ticks = 0
    for pid in pids:
        if fields := _stat(pid):
            ticks += sum(int(fields[i]) for i in (_USER, _SYSTEM, _CHILDREN_USER, _CHILDREN_SYSTEM))
    return ticks / _TICKS


def reset_peak(pids: list[int]) -> None:
    """Let `peak_mebibytes` count from now on."""
    for pid in pids:
        with contextlib.suppress(OSError):  # it has just ended
            (_PROC / str(pid) / "clear_refs").write_text("5")


def peak_mebibytes(pids: list[int]) -> float:
    """The sum of the processes' largest resident memory; what several of them share is counted in each."""
    kibibytes = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            status = (_PROC / str(pid) / "status").read_text()
            # A process that has ended, but has not been waited for, has no memory any more.
            kibibytes += int(status.partition("VmHWM:")[2].split()[0]) if "VmHWM:" in status else 0
    return kibibytes / 1024


def _stat(pid: int) -> list[str]:
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
