"""The frozen teacher: each text is encoded once, into a memory-mapped float16 cache that survives interruptions.

The cache is keyed by the teacher's files, its prompt and the source's content; it grows when a later run wants
more of the same source. Knows no student and no loss.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from bundle.arrays import Vectors
from bundle.atomic import write_atomically
from train.cache import cache_directory, exclusive, fingerprint, folder_identity, source_identity
from train.config import Teacher
from train.data import read_source
from train.distributed import in_shares, is_first, make_shared, on_first
from train.encoding import encode_in_parallel
from train.errors import ModelError
from train.locate import locate_model
from train.sources import Pairs, Texts

_CHUNK = 8192

# PyTorch's fused attention is many times slower than the plain one on short bf16 sequences on CPU (measured:
# half of a training step), so nothing here uses it.
MODEL_OPTIONS = {"attn_implementation": "eager"}


class TeacherEncoder:
    """A teacher ready to encode, loaded when the first text really needs it."""

    def __init__(self, config: Teacher, *, bf16: bool, folder: Path | None = None) -> None:
        """`folder`: where the teacher lies once it has been finetuned; None: where `config` says."""
        self.config = config
        self.folder = folder or locate_model(config.model, sha256=config.sha256)
        self.prompt = config.prompt or default_prompt(self.folder)
        self._dtype = torch.bfloat16 if bf16 else torch.float32
        self._model: SentenceTransformer | None = None

    def encode(self, texts: list[str]) -> Vectors:
        """Unit vectors, float32[n, dim]."""
        if self._model is None:
            self._model = open_model(self.folder, dtype=self._dtype)
        return encode_in_parallel(self._model, [self.prompt + text for text in texts])

    def source_vectors(
        self, source: Texts | Pairs, data: Path | None, *, rows: int, advance: Callable[[int], None]
    ) -> NDArray[np.float16]:
        """Vectors of the first `rows` texts of `source`, float16[rows, dim], memory-mapped.

        Where there are several ranks, each encodes a share and rank 0 writes. `advance` is told of rows as they become
        available, for a progress bar.
        """
        cache = _VectorFile(make_shared(lambda: self._cache_folder(source, data)))
        with cache.exclusive() if is_first() else nullcontext():
            done = on_first(lambda: min(cache.rows, rows))
            advance(done)
            if done < rows:
                for chunk in _chunks(islice(read_source(source, data), done, rows)):
                    vectors = self._encode_in_shares(chunk)
                    if is_first():
                        cache.append(vectors)
                    advance(len(chunk))
        on_first(lambda: None)  # the last rows are on disk
        return cache.read(rows)

    def _cache_folder(self, source: Texts | Pairs, data: Path | None) -> Path:
        key = fingerprint(
            source_identity(source, data)
            | {"teacher": folder_identity(self.folder), "prompt": self.prompt, "dtype": str(self._dtype)}
        )
        folder = cache_directory() / f"teacher-{key}"
        folder.mkdir(exist_ok=True)
        return folder

    def _encode_in_shares(self, chunk: list[str]) -> NDArray[np.float16]:
        def encode(share: NDArray[np.int64]) -> torch.Tensor:
            return torch.from_numpy(self.encode([chunk[row] for row in share]).astype(np.float16))

        return in_shares(encode, np.arange(len(chunk))).numpy()

    def release(self) -> None:
        """Free the teacher's weights; the next `encode` loads them again."""
        self._model = None


def open_model(folder: Path, *, dtype: torch.dtype = torch.float32) -> SentenceTransformer:
    """Load a sentence-transformers folder for inference on the best device.

    Raises:
        ModelError: the folder is not such a model.
    """
    try:
        model: SentenceTransformer = SentenceTransformer(str(folder), model_kwargs=MODEL_OPTIONS | {"dtype": dtype})
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{folder}: not a sentence-transformers model: {error}") from error
    model.eval()
    return model


def default_prompt(folder: Path) -> str:
    """What the model in `folder` says is put before every text that comes without a prompt; mostly nothing.

    Raises:
        ModelError: it says so in a way that sentence-transformers does not understand.
    """
    file = folder / "config_sentence_transformers.json"
    if not file.is_file():
        return ""
    try:
        config = json.loads(file.read_bytes())
        name = config.get("default_prompt_name")
        return "" if name is None else str(config["prompts"][name] or "")
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise ModelError(f"{file}: no default prompt can be read from it ({type(error).__name__})") from error


class _VectorFile:
    """float16 rows on disk; a row counts only once `rows` says so, so a torn write is written again."""

    def __init__(self, folder: Path) -> None:
        self._vectors = folder / "vectors.f16"
        self._count = folder / "rows.txt"
        self._dimension = folder / "dimension.txt"
        self._lock = folder / "lock"

    def exclusive(self) -> AbstractContextManager[None]:
        """Wait until no other run writes here: two that append at once would put rows in the wrong place."""
        return exclusive(self._lock)

    @property
    def rows(self) -> int:
        return int(self._count.read_text()) if self._count.is_file() else 0

    def append(self, vectors: NDArray[np.float16]) -> None:
        rows, dimension = self.rows, vectors.shape[1]
        write_atomically(self._dimension, str(dimension))
        self._vectors.touch()
        with self._vectors.open("r+b") as file:
            file.seek(rows * dimension * vectors.itemsize)
            file.write(vectors.tobytes())
            file.flush()
            os.fsync(file.fileno())
        write_atomically(self._count, str(rows + len(vectors)))

    def read(self, rows: int) -> NDArray[np.float16]:
        dimension = int(self._dimension.read_text())
        return np.memmap(self._vectors, dtype=np.float16, mode="r", shape=(rows, dimension))


def _chunks(texts: Iterator[str]) -> Iterator[list[str]]:
    while chunk := list(islice(texts, _CHUNK)):
        yield chunk
