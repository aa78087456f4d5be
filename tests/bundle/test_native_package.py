"""Whether the package can be loaded is told without loading it."""

import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from bundle.errors import MissingRuntimeError
from bundle.native_package import ISA_VARIABLE, PACKAGE, load_native, wanted_isa, why_not_loadable


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of that name, which is found before any other and must not be run."""
    folder = tmp_path / PACKAGE
    folder.mkdir()
    (folder / "__init__.py").write_text("raise ImportError('it was run')")
    for name in (PACKAGE, f"{PACKAGE}._native"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def test_an_extension_for_this_python_is_there_or_not(package: Path) -> None:
    assert "no extension for this Python, build it anew by `make native`" in (why_not_loadable() or "")
    (package / "_native.cpython-27-mips-linux-gnu.so").touch()
    assert why_not_loadable() is not None, "for another Python"
    (package / f"_native{EXTENSION_SUFFIXES[0]}").touch()
    assert why_not_loadable() is None


def test_a_package_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bundle.native_package.find_spec", lambda _: None)
    assert why_not_loadable() == "disco-native is not installed"


def test_a_package_that_fails_or_is_older_is_to_be_built_anew(package: Path) -> None:
    with pytest.raises(MissingRuntimeError, match=r"build it anew by `make native`: it was run"):
        load_native()
    (package / "__init__.py").write_text("Encoder = Model = instruction_sets = None")
    with pytest.raises(MissingRuntimeError, match=r"build it anew .*LengthError"):
        load_native()


def test_an_empty_variable_wants_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ISA_VARIABLE, "")
    assert wanted_isa() is None
    monkeypatch.setenv(ISA_VARIABLE, "avx512_vnni")
    assert wanted_isa() == "avx512_vnni"
