"""The array types that cross room borders, and the ragged batch: many texts' ids in one flat array."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Ids: TypeAlias = NDArray[np.int32]
"""Token ids, int32."""
Offsets: TypeAlias = NDArray[np.int32]
"""int32[n + 1]: text i is `ids[offsets[i]:offsets[i + 1]]`."""
Vectors: TypeAlias = NDArray[np.float32]
"""float32[n, dim], one embedding a row."""


def flatten(texts: Sequence[Ids]) -> tuple[Ids, Offsets]:
    """Join n texts' ids into one ragged batch: (int32[total], int32[n + 1])."""
    offsets = np.zeros(len(texts) + 1, dtype=np.int32)
    np.cumsum([len(text) for text in texts], out=offsets[1:])
    ids = np.concatenate(texts) if texts else np.empty(0, dtype=np.int32)
    return ids, offsets


def normalize(vectors: Vectors) -> Vectors:
    """Scale each row to unit length; a zero row stays zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = vectors / np.maximum(norms, np.finfo(np.float32).tiny)
    return unit
