"""The queue of teacher vectors that serve as negatives after their batch has gone (DistilCSE, section 3.2; MoCo).

The teacher is frozen, so old vectors never go stale and no momentum encoder is needed. State lives in registered
buffers: it is saved with the stage and moves with it between devices.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class NegativeQueue(nn.Module):
    """First in, first out: the last `size` unit vectors that were put in; starts empty."""

    vectors: Tensor
    """float32[size, dim], a ring; rows from `filled` on are not set yet."""
    cursor: Tensor
    """int64[], the row that is written next."""
    filled: Tensor
    """int64[], how many rows are set."""

    def __init__(self, size: int, dimension: int) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.zeros(size, dimension))
        self.register_buffer("cursor", torch.zeros((), dtype=torch.int64))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))

    @property
    def negatives(self) -> Tensor:
        """The vectors held now, float32[filled, dim], in no particular order."""
        return self.vectors[: int(self.filled)]

    @torch.no_grad()
    def put(self, teacher: Tensor) -> None:
        """Add a batch float[B, dim], displacing the oldest vectors. The only place where the queue changes."""
        size = len(self.vectors)
        batch = F.normalize(teacher.float(), dim=-1)[-size:] if size else teacher[:0]
        rows = (int(self.cursor) + torch.arange(len(batch), device=batch.device)) % max(size, 1)
        self.vectors[rows] = batch
        self.cursor.fill_((int(self.cursor) + len(batch)) % max(size, 1))
        self.filled.fill_(min(size, int(self.filled) + len(batch)))
