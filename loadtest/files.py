"""Writing a report's file. Knows no format."""

import os
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file; readers see the old one or the whole new one.

    Raises:
        OSError: the folder is missing or not writable.
    """
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
