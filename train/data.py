"""Text and pairs from files, hub datasets or the built-in corpus, streamed. Knows no tokens and no models."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TypeVar

from train.builtin import DOCSTRINGS, docstring_pairs, docstring_texts
from train.edits import with_edits
from train.errors import DataError
from train.lines import numbered_lines
from train.sources import Pairs, Texts

HUB = "hub:"

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two texts that mean alike and, where there is one, a hard negative that does not."""

    anchor: str
    positive: str
    negative: str | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """Anchor, positive and, where there is one, negative."""
        return (self.anchor, self.positive) if self.negative is None else (self.anchor, self.positive, self.negative)


def read_texts(source: Texts, data: Path | None) -> Iterator[str]:
    """Stream the texts of one source, empty ones left out; a relative path is looked up under `data`.

    Raises:
        DataError: the file is missing, damaged, not UTF-8, lacks the column (with line number) or is empty.
    """
    if source.path == DOCSTRINGS:
        texts = docstring_texts()
    elif source.path.startswith(HUB):
        texts = (row[source.field] for _, row in _hub_rows(source, (source.field,)))
    else:
        files = text_files(resolve(source.path, data))
        texts = chain.from_iterable(_file_texts(file, source.field) for file in files)
    yield from _not_empty(islice(filter(None, map(str.strip, texts)), source.limit), source.path)


def read_source(source: Texts | Pairs, data: Path | None) -> Iterator[str]:
    """Stream the texts of a source of either kind; those of a pair follow one another.

    There are `pair_width` of them to a pair, unless the source asks for edited copies, which follow each text.

    Raises:
        DataError: see `read_texts` and `read_pairs`.
    """
    if isinstance(source, Texts):
        texts = read_texts(source, data)
    else:
        texts = (text for pair in read_pairs(source, data) for text in pair.texts)
    yield from with_edits(texts, source.edits) if source.edits else texts


def pair_width(source: Pairs) -> int:
    """How many texts each pair of the source has: 3 where there are negatives."""
    return 2 if source.path == DOCSTRINGS else len(source.columns)


def read_pairs(source: Pairs, data: Path | None) -> Iterator[Pair]:
    """Stream the pairs of one source.

    Raises:
        DataError: as `read_texts`; also when a row has too few columns, or one without text.
    """
    if source.path == DOCSTRINGS:
        rows: Iterator[tuple[str, ...]] = docstring_pairs()
    elif source.path.startswith(HUB):
        rows = _hub_pairs(source)
    else:
        rows = _file_pairs(resolve(source.path, data), source)
    yield from (Pair(*row) for row in _not_empty(islice(rows, source.limit), source.path))


def resolve(path: str, data: Path | None) -> Path:
    """Where a recipe's path lies: a file, or a folder of text.

    Raises:
        DataError: a relative path and no data folder, or nothing there.
    """
    found = Path(path) if Path(path).is_absolute() else (data or Path()) / path
    if not found.exists():
        where = f"under the data folder {data}" if data else "and DISCO_DATA is not set"
        raise DataError(f"{path} is not there {where}; change the recipe's path or set DISCO_DATA")
    return found


def text_files(path: Path) -> list[Path]:
    """A file alone, or those of a folder in the order they are read: .txt and .jsonl, compressed or not, at any depth.

    Raises:
        DataError: there are none in the folder.
    """
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.rglob("*") if _is_text(file.relative_to(path)) and file.is_file())
    if not files:
        raise DataError(f"{path} is a folder without a .txt or .jsonl file (.zst allowed)")
    return files


def is_json(path: Path) -> bool:
    """Whether a file is read as JSON lines."""
    return ".jsonl" in path.suffixes


def _is_text(name: Path) -> bool:
    """Whether a file of a folder belongs to its text; hidden ones and those in hidden folders do not."""
    hidden = any(part.startswith(".") for part in name.parts)
    return not hidden and name.name.removesuffix(".zst").endswith((".txt", ".jsonl"))


def _file_texts(path: Path, field: str) -> Iterator[str]:
    if is_json(path):
        yield from (text for _, (text,) in _json_rows(path, (field,)))
    else:
        yield from (line for _, line in numbered_lines(path))


def _file_pairs(path: Path, source: Pairs) -> Iterator[tuple[str, ...]]:
    if path.is_dir():
        raise DataError(f"{path} is a folder; pairs come from one file, .tsv or .jsonl (.zst allowed)")
    rows = _json_rows(path, _columns(source)) if is_json(path) else _tsv_rows(path, source)
    for number, row in rows:
        if not source.sources or row[-1] in source.sources:
            yield _with_text(row[: len(source.columns)], source, f"{path}, line {number}")


def _hub_pairs(source: Pairs) -> Iterator[tuple[str, ...]]:
    for number, row in _hub_rows(source, _columns(source)):
        if not source.sources or row["source"] in source.sources:
            texts = tuple(row[column] for column in source.columns)
            yield _with_text(texts, source, f"{source.path}, row {number}")


def _columns(source: Pairs) -> tuple[str, ...]:
    """Those that are read of a row; `source`, where it is asked for, comes last."""
    return (*source.columns, "source") if source.sources else source.columns


def _with_text(row: tuple[str, ...], source: Pairs, place: str) -> tuple[str, ...]:
    for column, text in zip(source.columns, row, strict=True):
        if not text.strip():
            raise DataError(f"{place}: column {column!r} is empty; fill it or leave the row out")
    return row


def _json_rows(path: Path, fields: tuple[str, ...]) -> Iterator[tuple[int, tuple[str, ...]]]:
    for number, line in numbered_lines(path):
        try:
            row = json.loads(line)
            values = tuple(row[field] for field in fields)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            wanted = " and ".join(repr(field) for field in fields)
            raise DataError(f"{path}, line {number}: no JSON object with a field {wanted}") from error
        for field, value in zip(fields, values, strict=True):
            if not isinstance(value, str):
                raise DataError(f"{path}, line {number}: field {field!r} is not text")
            # Only an escape can bring one into text that was valid UTF-8.
            if "\\u" in line and any("\ud800" <= character <= "\udfff" for character in value):
                raise DataError(f"{path}, line {number}: field {field!r} is not valid Unicode: a lone surrogate")
        yield number, values


def _tsv_rows(path: Path, source: Pairs) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Quotes are ordinary characters in these files, so nothing but a tab parts two columns."""
    lines = numbered_lines(path)
    header = list(source.columns) if not source.header else next(lines, (0, ""))[1].split("\t")
    wanted = _columns(source)
    if missing := [column for column in wanted if column not in header]:
        raise DataError(f"{path}: no column {missing[0]!r} among {header}")
    indices = [header.index(column) for column in wanted]
    for number, line in lines:
        row = line.split("\t")
        if len(row) < len(header):
            raise DataError(f"{path}, line {number}: {len(row)} columns, expected {len(header)}")
        yield number, tuple(row[index] for index in indices)


def _hub_rows(source: Texts | Pairs, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    from datasets import load_dataset  # takes seconds to import and only hub recipes need it

    named = source.path + (f", config {source.config!r}" if source.config else "")
    try:
        rows = load_dataset(source.path.removeprefix(HUB), name=source.config, split=source.split, streaming=True)
    except (OSError, ValueError) as error:
        raise DataError(f"{named}, split {source.split!r}: cannot be opened: {error}") from error
    for number, row in enumerate(rows, start=1):
        if missing := [column for column in columns if not isinstance(row.get(column), str)]:
            raise DataError(f"{named}, row {number}: no text column {missing[0]!r} among {sorted(row)}")
        yield number, row


def _not_empty(items: Iterator[Item], path: str) -> Iterator[Item]:
    first = next(items, None)
    if first is None:
        raise DataError(f"{path} holds nothing to train on")
    yield first
    yield from items
