"""The built-in corpus: English from the docstrings of installed Python packages, made on the spot.

It lets a run work with nothing but package installs. Summaries and bodies are weak pairs. Knows no tokens.
"""

import ast
import hashlib
import platform
import re
import sysconfig
import warnings
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

DOCSTRINGS = "builtin:docstrings"

_PARAGRAPH = re.compile(r"\n\s*\n")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_MARKUP = re.compile(r"[`*|<>{}\\=_]|::|>>>|\[|\]|\.\.")
_LONGEST_FILE = 400_000


def docstring_packages() -> str:
    """Which Python and which packages the corpus is made from: it changes when they do."""
    installed = sorted({f"{found.name} {found.version}" for found in distributions()})
    return hashlib.sha256("\n".join([platform.python_version(), *installed]).encode()).hexdigest()


def docstring_texts() -> Iterator[str]:
    """Distinct sentences of 5–64 words, in a fixed order for a given set of packages."""
    seen: set[str] = set()
    for docstring in _docstrings():
        for paragraph in _paragraphs(docstring):
            for sentence in _SENTENCE_END.split(paragraph):
                if _is_prose(sentence) and sentence not in seen:
                    seen.add(sentence)
                    yield sentence


def docstring_pairs() -> Iterator[tuple[str, str]]:
    """(summary, first paragraph of the body) of each docstring that has both, without repetitions."""
    seen: set[str] = set()
    for docstring in _docstrings():
        summary, *body = _paragraphs(docstring)[:2] or [""]
        if body and _is_prose(summary) and _is_prose(body[0]) and summary not in seen:
            seen.add(summary)
            yield summary, body[0]


def _docstrings() -> Iterator[str]:
    for file in _source_files():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # other people's invalid escapes are not our concern
                tree = ast.parse(file.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError, ValueError, RecursionError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                docstring = ast.get_docstring(node)
                if docstring:
                    yield docstring


def _source_files() -> Iterator[Path]:
    folders = dict.fromkeys(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib"))
    for folder in folders:
        for file in sorted(Path(folder).rglob("*.py")):
            in_tests = any(part in ("test", "tests", "site-packages") for part in file.relative_to(folder).parts)
            if not in_tests and file.stat().st_size <= _LONGEST_FILE:
                yield file


def _paragraphs(docstring: str) -> list[str]:
    return [" ".join(paragraph.split()) for paragraph in _PARAGRAPH.split(docstring)]


def _is_prose(text: str) -> bool:
    return 5 <= text.count(" ") + 1 <= 64 and text[0].isupper() and not _MARKUP.search(text)
