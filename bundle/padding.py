"""Laying a ragged batch out as a rectangle, for engines that need one. Knows no engine."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bundle.arrays import Ids, Offsets


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
