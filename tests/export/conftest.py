"""A student that each test may damage, and one export that all tests may read."""

import shutil
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from bundle.layout import Bundle
from export.build import build
from export.settings import ExportSettings


def export(student: Path, out: Path, *, data: Path | None = None, **settings: object) -> Bundle:
    """Run a whole export with one compute thread and no output."""
    chosen = ExportSettings.model_validate({"student": str(student), "out": out, "threads": 1, **settings})
    return build(chosen, data=data, console=Console(file=StringIO()))


Export = Callable[..., Bundle]


@pytest.fixture(scope="session", name="export")
def export_fixture() -> Export:
    return export


@pytest.fixture
def student(tiny_teacher: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model in a folder of its own."""
    return Path(shutil.copytree(tiny_teacher, tmp_path / "students" / "tiny"))


@pytest.fixture(scope="session")
def exported(tiny_teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny model as a bundle of both precisions; read-only."""
    return export(tiny_teacher, tmp_path_factory.mktemp("bundles") / "tiny")
