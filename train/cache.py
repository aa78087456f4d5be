"""Where caches lie and how they are keyed. Knows nothing of what is cached.

A cache folder's name is the hash of everything its content depends on, so a stale cache cannot be read; only of a hub
data set no more than its name is known.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from bundle.layout import sha256_of
from train.builtin import DOCSTRINGS, docstring_packages
from train.config import Pairs, Texts
from train.data import HUB, resolve


def cache_directory() -> Path:
    """`DISCO_CACHE`, else `disco` in the user's cache folder; made when missing."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(os.environ.get("DISCO_CACHE") or Path(base) / "disco")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def fingerprint(parts: Mapping[str, str | int | None]) -> str:
    """Twenty hexadecimal digits that change with any of `parts`."""
    return hashlib.sha256(json.dumps(dict(parts), sort_keys=True).encode()).hexdigest()[:20]


def source_identity(source: Texts | Pairs, data: Path | None) -> dict[str, str | int | None]:
    """What the texts of `source` depend on, its limit apart.

    A file is known by its content, docstrings by the installed packages, a hub data set by its name.
    """
    if source.path == DOCSTRINGS:
        return {"source": source.path, "packages": docstring_packages(), **_pair_columns(source)}
    column = {"field": source.field} if isinstance(source, Texts) else _pair_columns(source)
    if source.path.startswith(HUB):
        return {"source": source.path, "split": source.split, **column}
    return {"sha256": sha256_of(resolve(source.path, data)), **column}


def _pair_columns(source: Texts | Pairs) -> dict[str, str]:
    if isinstance(source, Texts):
        return {}
    return {"columns": "\t".join(source.columns), "header": str(source.header), "sources": "\t".join(source.sources)}


def folder_identity(model: Path) -> str:
    """Hash of all files of a model folder that decide its vectors."""
    digest = hashlib.sha256()
    for file in sorted(model.rglob("*")):
        if file.suffix in (".safetensors", ".json", ".txt", ".model", ".bin") and ".cache" not in file.parts:
            digest.update(f"{file.relative_to(model).as_posix()} {sha256_of(file)}\n".encode())
    return digest.hexdigest()
