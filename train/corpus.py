"""Token ids of a whole text source as two memory-mapped arrays, made once. Knows no teacher and no loss."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bundle.arrays import Ids, Vectors
from bundle.atomic import staged_directory
from bundle.layout import sha256_of
from bundle.text import TextEncoder
from train.cache import cache_directory, fingerprint, source_identity
from train.config import Texts
from train.data import read_texts

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


def tokenize_source(source: Texts, data: Path | None, tokenizer_file: Path, *, max_length: int) -> TokenizedTexts:
    """Tokenise one source as the student will read it, or open the result of an earlier run.

    Raises:
        DataError: see `read_texts`.
    """
    key = fingerprint(
        source_identity(source, data)
        | {"limit": source.limit, "tokenizer": sha256_of(tokenizer_file), "max_length": max_length}
    )
    folder = cache_directory() / f"tokens-{key}"
    if not folder.is_dir():
        encoder = TextEncoder.from_file(tokenizer_file, max_length=max_length)
        with staged_directory(folder) as staged:
            _write(read_texts(source, data), encoder, staged)
    ids = np.memmap(folder / "ids.i32", dtype=np.int32, mode="r")
    return TokenizedTexts(ids, np.load(folder / "offsets.npy", mmap_mode="r"))


def _write(texts: Iterator[str], encoder: TextEncoder, folder: Path) -> None:
    lengths: list[int] = []
    with (folder / "ids.i32").open("wb") as file:
        while chunk := list(islice(texts, _CHUNK)):
            for row in encoder.encode(chunk):
                lengths.append(len(row))
                file.write(row.tobytes())
    np.save(folder / "offsets.npy", np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]))


def tokenize_texts(texts: list[str], encoder: TextEncoder) -> TokenizedTexts:
    """Tokenise texts that fit in memory."""
    rows = encoder.encode(texts)
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    return TokenizedTexts(np.concatenate(rows), offsets)


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


class VectorMixture:
    """The teacher's vectors of a `TextMixture`, in the same order."""

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
