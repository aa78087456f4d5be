"""Text and pairs from files, hub datasets or the built-in corpus, streamed. Knows no tokens and no models."""

import csv
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, TypeVar

import zstandard

from train.builtin import DOCSTRINGS, docstring_pairs, docstring_texts
from train.config import Pairs, Texts
from train.errors import DataError

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
        texts = (row[source.field] for row in _hub_rows(source.path, source.split, (source.field,)))
    else:
        texts = _file_texts(resolve(source.path, data), source.field)
    yield from _not_empty(islice(filter(None, map(str.strip, texts)), source.limit), source.path)


def read_source(source: Texts | Pairs, data: Path | None) -> Iterator[str]:
    """Stream the texts of a source of either kind; those of a pair follow one another, `pair_width` at a time.

    Raises:
        DataError: see `read_texts` and `read_pairs`.
    """
    if isinstance(source, Texts):
        yield from read_texts(source, data)
    else:
        for pair in read_pairs(source, data):
            yield from pair.texts


def pair_width(source: Pairs) -> int:
    """How many texts each pair of the source has: 3 where there are negatives."""
    return 2 if source.path == DOCSTRINGS else len(source.columns)


def read_pairs(source: Pairs, data: Path | None) -> Iterator[Pair]:
    """Stream the pairs of one source.

    Raises:
        DataError: as `read_texts`; also when a row has too few columns.
    """
    if source.path == DOCSTRINGS:
        rows: Iterator[tuple[str, ...]] = docstring_pairs()
    elif source.path.startswith(HUB):
        columns = (*source.columns, "source") if source.sources else source.columns
        hub_rows = _hub_rows(source.path, source.split, columns)
        rows = (
            tuple(row[column] for column in source.columns)
            for row in hub_rows
            if not source.sources or row["source"] in source.sources
        )
    else:
        rows = _file_pairs(resolve(source.path, data), source)
    yield from (Pair(*row) for row in _not_empty(islice(rows, source.limit), source.path))


def resolve(path: str, data: Path | None) -> Path:
    """Where a recipe's path lies.

    Raises:
        DataError: a relative path and no data folder, or no such file.
    """
    found = Path(path) if Path(path).is_absolute() else (data or Path()) / path
    if not found.is_file():
        where = f"under the data folder {data}" if data else "and DISCO_DATA is not set"
        raise DataError(f"{path} is not there {where}; change the recipe's path or set DISCO_DATA")
    return found


@contextmanager
def _open_text(path: Path) -> Iterator[IO[str]]:
    with path.open("rb") as raw:
        stream: IO[bytes] = zstandard.ZstdDecompressor().stream_reader(raw) if path.suffix == ".zst" else raw
        yield io.TextIOWrapper(stream, encoding="utf-8", newline="\n")


def _numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    number = 0
    with _open_text(path) as file:
        try:
            for number, line in enumerate(file, start=1):
                yield number, line.rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise DataError(f"{path}, after line {number}: not UTF-8: {error.reason}") from None
        except zstandard.ZstdError as error:
            raise DataError(f"{path}, after line {number}: damaged zstd data: {error}") from error


def _file_texts(path: Path, field: str) -> Iterator[str]:
    if _is_json(path):
        yield from (text for (text,) in _json_rows(path, (field,)))
    else:
        yield from (line for _, line in _numbered_lines(path))


def _file_pairs(path: Path, source: Pairs) -> Iterator[tuple[str, ...]]:
    if not _is_json(path):
        yield from _tsv_rows(path, source)
    elif not source.sources:
        yield from _json_rows(path, source.columns)
    else:
        rows = _json_rows(path, (*source.columns, "source"))
        yield from (row[:-1] for row in rows if row[-1] in source.sources)


def _is_json(path: Path) -> bool:
    return ".jsonl" in path.suffixes


def _json_rows(path: Path, fields: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for number, line in _numbered_lines(path):
        try:
            row = json.loads(line)
            values = tuple(row[field] for field in fields)
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            wanted = " and ".join(repr(field) for field in fields)
            raise DataError(f"{path}, line {number}: no JSON object with a field {wanted}") from error
        for field, value in zip(fields, values, strict=True):
            if not isinstance(value, str):
                raise DataError(f"{path}, line {number}: field {field!r} is not text")
        yield values


def _tsv_rows(path: Path, source: Pairs) -> Iterator[tuple[str, ...]]:
    lines = _numbered_lines(path)
    header = list(source.columns) if not source.header else next(lines, (0, ""))[1].split("\t")
    wanted = [*source.columns, *(["source"] if source.sources else [])]
    if missing := [column for column in wanted if column not in header]:
        raise DataError(f"{path}: no column {missing[0]!r} among {header}")
    indices = [header.index(column) for column in source.columns]
    for number, line in lines:
        # Quotes are ordinary characters in these files.
        row = next(csv.reader([line], delimiter="\t", quoting=csv.QUOTE_NONE), [])
        if len(row) < len(header):
            raise DataError(f"{path}, line {number}: {len(row)} columns, expected {len(header)}")
        if not source.sources or row[header.index("source")] in source.sources:
            yield tuple(row[index] for index in indices)


def _hub_rows(path: str, split: str, columns: tuple[str, ...]) -> Iterator[dict[str, str]]:
    from datasets import load_dataset  # takes seconds to import and only hub recipes need it

    try:
        rows = load_dataset(path.removeprefix(HUB), split=split, streaming=True)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}, split {split!r}: cannot be opened: {error}") from error
    for number, row in enumerate(rows, start=1):
        if missing := [column for column in columns if not isinstance(row.get(column), str)]:
            raise DataError(f"{path}, row {number}: no text column {missing[0]!r} among {sorted(row)}")
        yield row


def _not_empty(items: Iterator[Item], path: str) -> Iterator[Item]:
    first = next(items, None)
    if first is None:
        raise DataError(f"{path} holds nothing to train on")
    yield first
    yield from items
