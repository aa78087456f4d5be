"""A virtual environment of its own for each peer, from a pinned requirements file. Knows no server."""

import json
import subprocess
import sys
import venv
from collections.abc import Iterable
from pathlib import Path

from loadtest.peers.errors import AbsentError

_STAMP = "requirements.txt"
_VERSIONS = """
import json, platform, sys
from importlib.metadata import version
print(json.dumps({name: version(name) for name in sys.argv[1:]} | {"python": platform.python_version()}))
"""


def install(requirements: Path, environment: Path) -> Path:
    """Make the environment that `requirements` describe, unless it is there already; returns its interpreter.

    Raises:
        AbsentError: the packages cannot be installed here; the whole of pip's output is in `environment`/pip.log.
    """
    wanted, stamp = requirements.read_text(encoding="utf-8"), environment / _STAMP
    python = environment / "bin" / "python"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    print(f"installing {requirements} into {environment}", file=sys.stderr)
    venv.create(environment, with_pip=True, clear=True, symlinks=True)
    command: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--requirement", requirements]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    (environment / "pip.log").write_text(done.stdout, encoding="utf-8")
    if done.returncode:
        complaints = [line for line in done.stdout.splitlines() if line.startswith("ERROR")] or ["see pip.log"]
        raise AbsentError(f"pip cannot install {requirements.name}: {complaints[0]}")
    stamp.write_text(wanted, encoding="utf-8")
    return python


def versions(python: Path, packages: Iterable[str]) -> dict[str, str]:
    """Of the named packages in the environment of that interpreter, and of Python there."""
    done = subprocess.run([python, "-c", _VERSIONS, *packages], capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found
