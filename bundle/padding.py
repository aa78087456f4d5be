"""Laying a ragged batch out as a rectangle, for engines that need one. Knows no engine."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bundle.arrays import Ids, Offsets, Vectors


def pad(ids: Ids, offsets: Offsets) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Lay a ragged batch out as rows padded with 0 on the right: (input_ids, attention_mask), int64[n, longest].

    There is at least one column: of a text of blanks, a tokenizer without special tokens leaves nothing, and engines
    stumble over tensors without elements.
    """
    lengths = np.diff(offsets)
    mask = np.arange(lengths.max(initial=1)) < lengths[:, None]
    padded = np.zeros(mask.shape, dtype=np.int64)
    padded[mask] = ids
    return padded, mask.astype(np.int64)


def padded_size(lengths: Sequence[int]) -> int:
    """The tokens of a batch of texts of these lengths when every text is padded to the longest one."""
    return len(lengths) * max(lengths, default=0)


class PaddingEncoder(ABC):
    """What engines that need a rectangle have in common of the `Encoder` contract; they say how one is embedded."""

    def __init__(self, *, dimension: int, description: str) -> None:
        self._dimension = dimension
        self._description = description

    @property
    def dimension(self) -> int:
        """See `Encoder`."""
        return self._dimension

    @property
    def description(self) -> str:
        """See `Encoder`."""
        return self._description

    # Not a method, so that whoever runs an engine elsewhere can take its costs along.
    cost = staticmethod(padded_size)

    def encode(self, ids: Ids, offsets: Offsets) -> Vectors:
        """See `Encoder`."""
        return self._embed(*pad(ids, offsets))

    @abstractmethod
    def _embed(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> Vectors:
        """Embed int64[n, length] ids with their mask as float32[n, dim]."""
