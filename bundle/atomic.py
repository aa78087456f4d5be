"""Writing so that nothing is ever half-written: a temporary neighbour, then one rename. Knows no file format."""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write `content` (text as UTF-8) to `path`; readers see the old file or the new one, never a part.

    Raises:
        OSError: the folder is missing or the disk is full; the old file is then still intact.
    """
    with staged_file(path) as staged:
        staged.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def staged_file(target: Path) -> Iterator[Path]:
    """Yield a path beside `target` for the block to write; the file takes its place when the block succeeds."""
    staged = _partial_name(target)
    try:
        yield staged
        _flush_to_disk(staged)
        staged.replace(target)
    finally:
        staged.unlink(missing_ok=True)


@contextmanager
def staged_directory(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside `target` that takes its place when the block ends without an exception.

    An existing `target` stays untouched until the last moment; when the block raises, the staged folder is
    removed and `target` is as it was.

    Raises:
        NotADirectoryError: `target` is a file.
        OSError: the folder cannot be written; `target` is then as it was.
    """
    target = target.resolve()  # of a link, what it points to is replaced and the link stays
    if target.exists() and not target.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "is a file, not a folder", str(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    staged = _partial_name(target)
    staged.mkdir()
    try:
        yield staged
        for path in (staged, *staged.rglob("*")):
            _flush_to_disk(path)
        _swap_in(staged, target)
        _flush_to_disk(target.parent)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _partial_name(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial-{secrets.token_hex(4)}")


def _swap_in(staged: Path, target: Path) -> None:
    if not target.exists():
        staged.rename(target)
        return
    # POSIX cannot rename over a folder that is not empty, so the old one steps aside first.
    outgoing = _partial_name(target)
    target.rename(outgoing)
    try:
        staged.rename(target)
    except OSError:
        outgoing.rename(target)
        raise
    shutil.rmtree(outgoing)


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
