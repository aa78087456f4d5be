"""Whether the package can be loaded is told without loading it."""

import sys
import tomllib
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from bundle.errors import MissingRuntimeError
from bundle.native_package import ISA_VARIABLE, PACKAGE, VERSION, load_native, wanted_isa, why_not_loadable


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of that name, which is found before any other and must not be run."""
    folder = tmp_path / PACKAGE
    folder.mkdir()
    (folder / "__init__.py").write_text("raise ImportError('it was run')")
    for name in (PACKAGE, f"{PACKAGE}._native"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("bundle.native_package.version", lambda _: VERSION)
    return folder


def add_extension(package: Path) -> None:
    (package / f"_native{EXTENSION_SUFFIXES[0]}").touch()


def test_an_extension_for_this_python_is_there_or_not(package: Path) -> None:
    assert "no extension for this Python, build it anew by `make native`" in (why_not_loadable() or "")
    (package / "_native.cpython-27-mips-linux-gnu.so").touch()
    assert why_not_loadable() is not None, "for another Python"
    add_extension(package)
    assert why_not_loadable() is None


def test_a_package_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bundle.native_package.find_spec", lambda _: None)
    assert why_not_loadable() == "disco-native is not installed"


def test_a_package_of_another_version_is_to_be_built_anew(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_extension(package)
    monkeypatch.setattr("bundle.native_package.version", lambda _: "0.0.9")
    assert why_not_loadable() == f"disco-native is 0.0.9, {VERSION} is needed: build it anew by `make native`"
    with pytest.raises(MissingRuntimeError, match=r"disco-native is 0\.0\.9"):
        load_native()


def test_the_version_is_that_of_this_repository() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "native" / "pyproject.toml").read_text())
    assert project["project"]["version"] == VERSION


def test_a_package_that_fails_is_to_be_built_anew(package: Path) -> None:
    add_extension(package)
    with pytest.raises(MissingRuntimeError, match="build it anew by `make native`: it was run"):
        load_native()


def test_an_empty_variable_wants_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ISA_VARIABLE, "")
    assert wanted_isa() is None
    monkeypatch.setenv(ISA_VARIABLE, "avx512_vnni")
    assert wanted_isa() == "avx512_vnni"
