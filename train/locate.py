"""From the name of a model to a folder on disk: local path, installed Python package or model hub. Loads nothing."""

import importlib.util
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError

from bundle.layout import sha256_of
from train.errors import ModelError

PACKAGE = "package:"


def locate_model(name: str, *, sha256: str | None = None) -> Path:
    """The folder of a model; hub ids are downloaded (by hf-transfer, which the command line switches on).

    Raises:
        ModelError: not found anywhere, or `sha256` is given and model.safetensors differs from it.
    """
    if name.startswith(PACKAGE):
        folder = _in_package(name.removeprefix(PACKAGE))
    elif Path(name).is_dir():
        folder = Path(name)
    else:
        folder = _from_hub(name)
    if sha256 is not None and (actual := _weights_hash(folder)) != sha256:
        raise ModelError(f"{name}: model.safetensors has SHA-256 {actual}, the recipe wants {sha256}")
    return folder


def _weights_hash(folder: Path) -> str:
    weights = folder / "model.safetensors"
    return sha256_of(weights) if weights.is_file() else "nothing (the file is missing)"


def _in_package(path: str) -> Path:
    package, _, inside = path.partition("/")
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModelError(
            f"the Python package {package} is not installed; try `pip install {package.replace('_', '-')}`"
        )
    folder = Path(spec.origin).parent / inside
    if not folder.is_dir():
        raise ModelError(f"the Python package {package} has no folder {inside!r}")
    return folder


def _from_hub(name: str) -> Path:
    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.txt", "*.safetensors", "*.model"]))
    except (HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError) as error:
        raise ModelError(f"{name}: neither a folder here nor a model the hub can give us ({error})") from error
