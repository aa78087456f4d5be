"""Token ids of a whole source as two memory-mapped arrays, made once. Knows no teacher and no loss.

A corpus may be larger than memory: ids and offsets stay on disk, and what is held of each text is its length.
"""

import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bundle.arrays import Ids, Vectors
from bundle.atomic import staged_directory
from bundle.layout import sha256_of
from bundle.text import TextEncoder
from train.cache import cache_directory, exclusive, fingerprint, source_identity
from train.data import read_source
from train.distributed import make_shared
from train.sources import Pairs, Texts

_CHUNK = 8192
_COUNTED_AT_ONCE = 1 << 20  # ids, which counting turns into int64


@dataclass(frozen=True)
class TokenizedTexts:
    """n ragged rows: text i is `ids[offsets[i]:offsets[i + 1]]` (int32), offsets int64[n + 1]."""

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> Ids:
        return self.ids[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens per text, int64[n]."""
        return np.diff(self.offsets)


def tokenize_source(
    source: Texts | Pairs, data: Path | None, tokenizer_file: Path, *, max_length: int, prompt: str = ""
) -> TokenizedTexts:
    """Tokenise one source as the model will read it, after `prompt`, or open the result of an earlier run.

    Raises:
        DataError: see `read_source`.
    """
    folder = make_shared(lambda: _tokenized(source, data, tokenizer_file, max_length, prompt))
    ids = np.memmap(folder / "ids.i32", dtype=np.int32, mode="r")
    return TokenizedTexts(ids, np.load(folder / "offsets.npy", mmap_mode="r"))


def _tokenized(source: Texts | Pairs, data: Path | None, tokenizer_file: Path, max_length: int, prompt: str) -> Path:
    key = fingerprint(
        source_identity(source, data)
        | {"limit": source.limit, "tokenizer": sha256_of(tokenizer_file), "max_length": max_length}
        | ({"prompt": prompt} if prompt else {})
    )
    folder = cache_directory() / f"tokens-{key}"
    with exclusive(folder.with_name(f"{folder.name}.lock")):  # a run that wants the same waits instead of doing it too
        if not folder.is_dir():
            encoder = TextEncoder.from_file(tokenizer_file, max_length=max_length)
            with staged_directory(folder) as staged:
                _write((prompt + text for text in read_source(source, data)), encoder, staged)
    return folder


def _write(texts: Iterator[str], encoder: TextEncoder, folder: Path) -> None:
    offsets = array("q", [0])  # 8 bytes a text
    with (folder / "ids.i32").open("wb") as file:
        while chunk := list(islice(texts, _CHUNK)):
            for row in encoder.encode(chunk):
                offsets.append(offsets[-1] + len(row))
                file.write(row.tobytes())
    np.save(folder / "offsets.npy", np.frombuffer(offsets, dtype=np.int64))


class TextMixture:
    """Several tokenised sources one after the other, addressed by one row number."""

    def __init__(self, parts: Sequence[TokenizedTexts]) -> None:
        self._parts = list(parts)
        self._starts = np.cumsum([0, *(len(part) for part in parts)])
        self.lengths: NDArray[np.int64] = np.concatenate([part.lengths for part in parts])
        """Tokens per text, int64[n]."""

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, row: int) -> Ids:
        part = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self._parts[part][row - int(self._starts[part])]

    def count_tokens(self, vocabulary: int) -> NDArray[np.int64]:
        """How often each token occurs in all texts, int64[vocabulary]."""
        counts = np.zeros(vocabulary, dtype=np.int64)
        for part in self._parts:
            for start in range(0, len(part.ids), _COUNTED_AT_ONCE):
                counts += np.bincount(part.ids[start : start + _COUNTED_AT_ONCE], minlength=vocabulary)
        return counts


class TokenizedPairs:
    """Pairs by the numbers of their texts, which follow one another in every source."""

    def __init__(self, parts: Sequence[TokenizedTexts], widths: Sequence[int]) -> None:
        """`widths`: how many texts each pair of a source has, 3 where there are negatives."""
        self.texts = TextMixture(parts)
        columns, start = [], 0
        for part, width in zip(parts, widths, strict=True):
            numbers = np.full((len(part) // width, 3), -1, dtype=np.int64)
            numbers[:, :width] = start + np.arange(len(part)).reshape(-1, width)
            columns.append(numbers)
            start += len(part)
        self.columns: NDArray[np.int64] = np.concatenate(columns)
        """int64[n, 3]: anchor, positive and negative, or −1 where there is none."""
        padded = np.append(self.texts.lengths, 0)  # number −1, a missing negative, has length 0
        self.longest: NDArray[np.int64] = padded[self.columns].max(axis=1)
        """Tokens of the longest text of each pair, int64[n]."""

    def __len__(self) -> int:
        return len(self.columns)


class TeacherVectors(Protocol):
    """What a student learns of the texts of a `TextMixture`, in the same order."""

    dimension: int

    def __getitem__(self, rows: NDArray[np.int64]) -> Vectors:
        """float32[len(rows), dim]."""
        ...


class VectorMixture:
    """One teacher's vectors; see `TeacherVectors`."""

    def __init__(self, parts: Sequence[NDArray[np.float16]]) -> None:
        self._parts = list(parts)
        self._starts = np.cumsum([0, *(len(part) for part in parts)])
        self.dimension: int = parts[0].shape[1]

    def __getitem__(self, rows: NDArray[np.int64]) -> Vectors:
        """float32[len(rows), dim]."""
        vectors = np.empty((len(rows), self.dimension), dtype=np.float32)
        part_of_row = np.searchsorted(self._starts, rows, side="right") - 1
        for part in np.unique(part_of_row):
            here = part_of_row == part
            vectors[here] = self._parts[part][rows[here] - self._starts[part]]
        return vectors


class ConcatenatedVectors:
    """Several teachers' vectors of the same texts, side by side; see `TeacherVectors` and `side_by_side`."""

    def __init__(self, teachers: Sequence[TeacherVectors]) -> None:
        self._teachers = list(teachers)
        self.dimension: int = sum(teacher.dimension for teacher in teachers)

    def __getitem__(self, rows: NDArray[np.int64]) -> Vectors:
        """float32[len(rows), dim]."""
        return side_by_side([teacher[rows] for teacher in self._teachers])


def side_by_side(vectors: Sequence[Vectors]) -> Vectors:
    """Join n teachers' unit vectors of the same texts, float32[texts, dim] each, and divide by √n.

    That is a unit vector again, and the cosine of two of them is the mean of the teachers' cosines.
    """
    return np.concatenate(vectors, axis=1) / math.sqrt(len(vectors))
