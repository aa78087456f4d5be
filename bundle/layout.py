"""Where things lie inside a bundle, opening one (every hash verified) and writing one (all or nothing).

A bundle is a sentence-transformers directory plus `manifest.json`, `quality.json` and `onnx/`. Knows file names
and hashes; does not know what a graph computes.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bundle.atomic import staged_directory, write_atomically
from bundle.errors import DamagedFileError, ManifestError, NotABundleError
from bundle.manifest import File, Manifest, decode_manifest, encode_manifest, seal

MANIFEST = "manifest.json"
QUALITY = "quality.json"
QUALITY_PAGE = "quality.html"
TUNING = "tuning.json"
TRAINING = "training.json"
TOKENIZER = "tokenizer.json"
MODEL_CARD = "README.md"
ONNX_FOLDER = "onnx"

# What is for people may be edited after export, and torch weights are optional: neither changes a served embedding.
_NOT_SEALED = {MANIFEST, MODEL_CARD, QUALITY_PAGE, "model.safetensors"}


@dataclass(frozen=True)
class Bundle:
    """An opened bundle whose files were all verified."""

    path: Path
    manifest: Manifest

    @property
    def tokenizer_file(self) -> Path:
        """The `tokenizer.json` that defines text → ids."""
        return self.path / TOKENIZER


def open_bundle(path: Path) -> Bundle:
    """Read the manifest and verify every file it lists.

    Raises:
        NotABundleError: no such folder, or no manifest in it.
        ManifestError: the manifest is damaged, incomplete or of another version.
        DamagedFileError: a listed file is missing or has changed; the message names it.
    """
    manifest_file = path / MANIFEST
    if not manifest_file.is_file():
        raise NotABundleError(f"{path}: no {MANIFEST} here; make a bundle with `python -m export STUDENT --out {path}`")
    manifest = decode_manifest(manifest_file.read_bytes(), source=str(manifest_file))
    if TOKENIZER not in {file.path for file in manifest.files}:
        raise ManifestError(f"{manifest_file}: does not list {TOKENIZER}, without which no text can be read")
    for file in manifest.files:
        _verify(path / file.path, file.sha256)
    return Bundle(path, manifest)


def write_bundle(target: Path, fill: Callable[[Path], Manifest]) -> Bundle:
    """Let `fill` write the files into a staging folder, seal them and move the whole to `target` in one step.

    `fill` returns the manifest without `files` and `digest`. When it raises, nothing is left behind and an
    existing `target` is untouched.
    """
    with staged_directory(target) as staged:
        manifest = seal_directory(staged, fill(staged))
    return Bundle(target, manifest)


def seal_directory(directory: Path, manifest: Manifest) -> Manifest:
    """Hash the files of `directory`, write its `manifest.json` and return the sealed manifest."""
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    names = [(path, path.relative_to(directory).as_posix()) for path in paths]
    files = tuple(
        File(path=name, sha256=sha256_of(path), bytes=path.stat().st_size)
        for path, name in names
        if name not in _NOT_SEALED
    )
    sealed = seal(msgspec.structs.replace(manifest, files=files))
    write_atomically(directory / MANIFEST, encode_manifest(sealed))
    return sealed


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _verify(path: Path, expected: str) -> None:
    if not path.is_file():
        raise DamagedFileError(f"{path} is missing; the bundle is incomplete, copy or export it again")
    if (actual := sha256_of(path)) != expected:
        raise DamagedFileError(
            f"{path} is damaged: its SHA-256 is {actual[:12]}…, the manifest says {expected[:12]}…; "
            "copy or export the bundle again"
        )
