"""Where and with what a run was made. Knows nothing of the run."""

import ipaddress
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

Machine: TypeAlias = dict[str, str | int | None]


def describe_machine() -> Machine:
    """The generator's machine."""
    return {"platform": platform.platform(), "processor": _processor(), "cores": os.cpu_count()}


def versions() -> dict[str, str]:
    """Of Python and of the libraries that the figures depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in ("httptools", "numpy")}}


def is_loopback(url: str) -> bool:
    """Whether the server is on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost"


def _processor() -> str | None:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or None
