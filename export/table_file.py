"""The weights of a token table on disk, as sentence-transformers' `StaticEmbedding` and Model2Vec write them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from export.errors import DamagedStudentError

FILE = "model.safetensors"
_NAMES = ("embedding.weight", "embeddings")


def table_dimension(folder: Path) -> int:
    """The number of components of a row; reads the file's header only.

    Raises:
        DamagedStudentError: the file is missing, truncated or holds no table.
    """
    with _open(folder) as (file, name):
        return int(file.get_slice(name).get_shape()[1])


def read_table(folder: Path) -> NDArray[np.float32]:
    """The vectors of all tokens, float32[vocabulary, dim].

    Raises:
        DamagedStudentError: the file is missing, truncated or holds no table.
    """
    with _open(folder) as (file, name):
        table: NDArray[np.float32] = file.get_tensor(name).astype(np.float32)
        return table


@contextmanager
def _open(folder: Path) -> Iterator[tuple[Any, str]]:
    """The opened file and the name of the table in it."""
    path = folder / FILE
    try:
        with safe_open(path, framework="numpy") as file:
            names = [name for name in _NAMES if name in file.keys()]  # noqa: SIM118  # it is no mapping
            if not names:
                raise DamagedStudentError(f"{path} has no tensor {' or '.join(_NAMES)}; is it a token table?")
            yield file, names[0]
    except (OSError, SafetensorError) as error:
        raise DamagedStudentError(f"{path}: cannot be read: {error}") from error
