"""The package disco-native: whether it can be loaded, and which of its instruction sets is wanted. Knows no models."""

import os
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from types import ModuleType
from typing import NamedTuple

from bundle.errors import MissingRuntimeError, UnsupportedGraphError
from bundle.native_check import multiplies_right

ISA_VARIABLE = "DISCO_NATIVE_ISA"
"""Names the instruction set to use, instead of the fastest that the CPU has."""

PACKAGE = "disco_native"
VERSION = "0.2.0"
"""What this code is written for: both come from one repository, and an older build is only to be built anew."""
_EXTENSION = f"{PACKAGE}._native"
_REFERENCE = "generic"


class ChosenIsa(NamedTuple):
    """An instruction set, and why not another."""

    name: str
    wrong: tuple[str, ...] = ()
    """Faster ones, which this CPU claims to have and multiplies wrongly with."""


def why_not_loadable() -> str | None:
    """Why the package cannot be loaded; None where it can. Loads nothing: who asks may never need it."""
    package = find_spec(PACKAGE)
    if package is None:
        return "disco-native is not installed"
    # Not find_spec, which would import the package and with it the very extension.
    folders = package.submodule_search_locations
    if not any(finder.find_spec(_EXTENSION, folders) for finder in sys.meta_path):
        return "disco-native has no extension for this Python, build it anew by `make native`"
    try:
        found = version("disco-native")
    except PackageNotFoundError:  # on the path without having been installed
        return None
    if found != VERSION:
        return f"disco-native is {found}, {VERSION} is needed: build it anew by `make native`"
    return None


def load_native() -> ModuleType:
    """Import it.

    Raises:
        MissingRuntimeError: it is not installed, not for this Python, or of another version.
    """
    if (why := why_not_loadable()) is not None:
        raise MissingRuntimeError(why)
    try:
        import disco_native
    except ImportError as error:
        raise MissingRuntimeError(
            f"disco-native cannot be imported, build it anew by `make native`: {error}"
        ) from error
    module: ModuleType = disco_native
    return module


def wanted_isa() -> str | None:
    """The instruction set that `DISCO_NATIVE_ISA` names; None where the fastest one is to be taken."""
    return os.environ.get(ISA_VARIABLE) or None


def choose_isa(native: ModuleType, isa: str | None) -> ChosenIsa:
    """`isa`, or the one that is wanted, or the fastest that this CPU has and multiplies right with.

    Raises:
        UnsupportedGraphError: none was named, and there are none but wrong ones and the slow reference.
    """
    if named := isa or wanted_isa():
        return ChosenIsa(named)
    wrong: list[str] = []
    for fastest in native.instruction_sets():
        if fastest == _REFERENCE:
            break
        if multiplies_right(native, fastest):
            return ChosenIsa(fastest, tuple(wrong))
        wrong.append(fastest)
    if wrong:
        raise UnsupportedGraphError(
            f"what the native engine has for this CPU multiplies wrongly on it ({', '.join(wrong)}): please report it, "
            "and use --runtime onnxruntime"
        )
    raise UnsupportedGraphError(
        "this CPU has no AVX-512 VNNI, which the native engine is made for; "
        f"{ISA_VARIABLE}={_REFERENCE} runs its slow reference"
    )
