"""Every block of the documentation does what it says: commands exist with their flags, snippets run, recipes parse."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

from tests.e2e.conftest import RunningServer
from train.recipe import describe_settings, parse_recipe

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "students" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")


def blocks(language: str) -> list[str]:
    return [body for page in PAGES for kind, body in FENCE.findall(page.read_text()) if kind == language]


def commands() -> list[list[str]]:
    lines = [line for block in blocks("bash") for line in block.replace("\\\n", " ").splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


@cache
def help_of(*module: str) -> str:
    done = subprocess.run([sys.executable, "-m", *module, "--help"], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("words", [w for w in commands() if w[0] == "curl"], ids=lambda words: words[2].rsplit(":")[-1])
def test_curl_gets_an_answer(words: list[str], shipped_server: RunningServer) -> None:
    words = [word.replace("http://127.0.0.1:8080", shipped_server.url) for word in words]
    done = subprocess.run([*words, "--fail"], capture_output=True, check=True)
    assert done.stdout


@pytest.mark.parametrize(
    "words", [w for w in commands() if w[:2] == ["python", "-m"]], ids=lambda words: " ".join(words[2:5])
)
def test_python_commands_exist_with_the_flags_they_are_given(words: list[str]) -> None:
    known = ("benchmark", "evaluate", "ladder", "recipes", "report", "study", "study-table")
    subcommand = [word for word in words[3:4] if word in known]
    manual = help_of(words[2], *subcommand)
    for flag in (word for word in words if word.startswith("--")):
        assert re.search(rf"(?<![\w-]){flag}(?![\w-])", manual), f"{flag} is not in --help of {words[2]}"


@pytest.mark.parametrize("words", [w for w in commands() if w[0] == "make"], ids=" ".join)
def test_make_targets_exist(words: list[str]) -> None:
    subprocess.run([*words, "--dry-run"], cwd=ROOT, capture_output=True, check=True)


def test_no_command_is_left_unchecked() -> None:
    assert {words[0] for words in commands()} <= {"curl", "python", "make", "pip"}


def test_installed_extras_exist() -> None:
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    named = [name for words in commands() if words[0] == "pip" for name in words[-1][2:-1].split(",")]
    assert named
    assert set(named) <= extras


@pytest.mark.parametrize("code", blocks("python"), ids=range(len(blocks("python"))))
def test_python_snippets_run(code: str, shipped_server: RunningServer) -> None:
    exec(compile(code.replace("http://127.0.0.1:8080", shipped_server.url), "documentation", "exec"), {})


@pytest.mark.parametrize("text", blocks("toml"), ids=range(len(blocks("toml"))))
def test_recipes_are_valid(text: str) -> None:
    parse_recipe(tomllib.loads(text), source="documentation")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_table_of_settings_is_the_codes() -> None:
    assert describe_settings() in (ROOT / "docs" / "training.md").read_text()


def test_the_figures_of_the_readme_are_those_of_the_committed_json() -> None:
    done = subprocess.run([sys.executable, ROOT / "docs" / "update_readme.py", "--check"], check=False)
    assert done.returncode == 0, "run `make readme`"


@pytest.mark.parametrize(
    "script", ["update_studies.py", "update_engines.py", "update_benchmarks.py", "update_acceptance.py"]
)
def test_the_tables_in_the_docs_are_those_of_the_committed_json(script: str) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / script, "--check"], check=False, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, "run `make readme`"
