"""Models that come inside an installed Python package, named `package:NAME/FOLDER`. Loads nothing."""

import importlib.util
from pathlib import Path

from bundle.errors import MissingPackageError

_PREFIX = "package:"


def is_in_package(name: str) -> bool:
    """Whether `name` means a folder inside a package."""
    return name.startswith(_PREFIX)


def folder_in_package(name: str) -> Path:
    """The folder that `package:NAME/FOLDER` means.

    Raises:
        MissingPackageError: the package is not installed, or has no such folder.
    """
    package, _, inside = name.removeprefix(_PREFIX).partition("/")
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise MissingPackageError(
            f"the Python package {package} is not installed; try `pip install {package.replace('_', '-')}`"
        )
    folder = Path(spec.origin).parent / inside
    if not folder.is_dir():
        raise MissingPackageError(f"the Python package {package} has no folder {inside!r}")
    return folder
