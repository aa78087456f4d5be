"""Where caches lie and how they are keyed. Knows nothing of what is cached.

A cache folder's name is the hash of everything its content depends on, so a stale cache cannot be read; only of a hub
data set no more than its name is known.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from bundle.layout import sha256_of
from train.builtin import DOCSTRINGS, docstring_packages
from train.data import HUB, is_json, resolve, text_files
from train.edits import VERSION as EDITS_VERSION
from train.errors import ModelError
from train.sources import Pairs, Texts

_MODEL_FILES = (".safetensors", ".json", ".txt", ".model", ".bin")


def cache_directory() -> Path:
    """`DISCO_CACHE`, else `disco` in the user's cache folder; made when missing."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(os.environ.get("DISCO_CACHE") or Path(base) / "disco")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def exclusive(lock_file: Path) -> Iterator[None]:
    """Not before every other process, and thread, has left its block of the same file."""
    with lock_file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fingerprint(parts: Mapping[str, str | int | None]) -> str:
    """Twenty hexadecimal digits that change with any of `parts`."""
    return hashlib.sha256(json.dumps(dict(parts), sort_keys=True).encode()).hexdigest()[:20]


def source_identity(source: Texts | Pairs, data: Path | None) -> dict[str, str | int | None]:
    """What the texts of `source` depend on, its limit apart: its content and how that is read.

    Raises:
        DataError: see `content_identity`.
    """
    return {**content_identity(source, data), **_columns(source), **edits_identity(source)}


def edits_identity(source: Texts | Pairs) -> dict[str, str]:
    """What its edited copies depend on besides its texts; nothing where it has none."""
    return {"edits": f"{source.edits} copies, version {EDITS_VERSION}"} if source.edits else {}


def content_identity(source: Texts | Pairs, data: Path | None) -> dict[str, str | None]:
    """What the content of `source` is known by, whichever columns are read of it.

    A file is known by its content, a folder by its files' names and contents, docstrings by the installed packages, a
    hub data set by its name.

    Raises:
        DataError: there is no such file, or nothing to read in the folder.
    """
    if source.path == DOCSTRINGS:
        return {"source": source.path, "packages": docstring_packages()}
    if source.path.startswith(HUB):
        config = {"config": source.config} if source.config else {}
        return {"source": source.path, "split": source.split, **config}
    path = resolve(source.path, data)
    if path.is_dir():
        return {"folder": _hash_of_files(path, text_files(path))}
    # The same bytes are other texts when they are read as JSON.
    form = {"format": "jsonl"} if is_json(path) else {}
    return {"sha256": sha256_of(path), **form}


def _columns(source: Texts | Pairs) -> dict[str, str]:
    if isinstance(source, Texts):
        return {} if source.path == DOCSTRINGS else {"field": source.field}
    return {"columns": "\t".join(source.columns), "header": str(source.header), "sources": "\t".join(source.sources)}


def folder_identity(model: Path) -> str:
    """Hash of all files of a model folder that decide its vectors.

    Raises:
        ModelError: there are none, so that any two such folders would pass for the same model.
    """
    files = [
        file
        for file in sorted(model.rglob("*"))
        # `.cache` is what downloading leaves in a folder; where the folder itself lies does not matter.
        if file.suffix in _MODEL_FILES and ".cache" not in file.relative_to(model).parts and file.is_file()
    ]
    if not files:
        raise ModelError(f"{model} holds no file of a model ({', '.join(_MODEL_FILES)})")
    return _hash_of_files(model, files)


def _hash_of_files(folder: Path, files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(folder).as_posix()} {sha256_of(file)}\n".encode())
    return digest.hexdigest()
