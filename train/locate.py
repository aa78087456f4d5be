"""From the name of a model to a folder on disk: local path, installed Python package or model hub. Loads nothing."""

from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError

from bundle.layout import sha256_of
from bundle.packages import folder_in_package, is_in_package
from train.errors import ModelError


def locate_model(name: str, *, sha256: str | None = None) -> Path:
    """The folder of a model; hub ids are downloaded (by hf-transfer, which the command line switches on).

    Raises:
        MissingPackageError: there is no such package, or no such folder in it.
        ModelError: not found anywhere else, or `sha256` is given and model.safetensors differs from it.
    """
    if is_in_package(name):
        folder = folder_in_package(name)
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


def _from_hub(name: str) -> Path:
    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.txt", "*.safetensors", "*.model"]))
    except (HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError) as error:
        raise ModelError(f"{name}: neither a folder here nor a model the hub can give us ({error})") from error
