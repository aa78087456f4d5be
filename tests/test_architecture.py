"""The rules of the house that a machine can check: who imports whom, and how a module looks."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("bundle", "train", "export", "server", "loadtest")
MODULES = [path.relative_to(ROOT) for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
MOST_LINES = 300

# Home folders and work folders of whoever's machine; written so that this file does not match itself.
MACHINE_PATH = re.compile(r"(?<![\w.\-/])/(?:home|Users|root|work)/[\w.\-]+")


def test_imports_keep_to_the_contracts() -> None:
    # In a process of its own, for import-linter switches existing loggers off.
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_room_is_here() -> None:
    assert {path.parts[0] for path in MODULES} == set(ROOMS)  # or the tests below would check nothing


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_is_short_and_says_what_it_owns(module: Path) -> None:
    source = (ROOT / module).read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(source)), f"{module} has no docstring"
    assert len(source.splitlines()) <= MOST_LINES, f"{module} is too long: it has more than one responsibility"
    assert module.stem not in {"utils", "util", "helpers", "common", "misc"}, f"{module}: name it after what it does"


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_imports_are_absolute(module: Path) -> None:
    tree = ast.parse((ROOT / module).read_text(encoding="utf-8"))
    relative = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]
    assert not relative, f"{module} imports relatively in lines {relative}"


def test_no_tracked_file_names_a_folder_of_somebodys_machine() -> None:
    offenders = [
        f"{path}:{number}"
        for path in tracked_files()
        for number, line in enumerate(text_lines(ROOT / path), start=1)
        if MACHINE_PATH.search(line)
    ]
    assert offenders == []


def test_the_pattern_finds_what_it_is_for() -> None:
    for folder in ("home/ada", "Users/ada", "root/.cache", "work/main"):
        assert MACHINE_PATH.search(f"open('/{folder}/x')")
    for innocent in ("https://example.org/home/page", "/app/students", "a/work/b", "/usr/share/doc"):
        assert not MACHINE_PATH.search(innocent)


def tracked_files() -> list[str]:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git checkout, so nothing is tracked")
    # A test run in a container may read a checkout that another user owns.
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"]
    listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [path for path in listing.split("\0") if path and (ROOT / path).is_file()]


def text_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        return []  # weights and pictures
