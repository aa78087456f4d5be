"""The online module of OKD: a small, trained correction of the frozen teacher's vectors, so that the teacher comes
towards what the student can copy. Knows no text and no queue.

Source: OKD (2409.12512), whose idea is a small trainable module on an otherwise frozen teacher; that it acts on the
finished vector, and its loss, are our adaptation. A module on the teacher's side that is free to move fails (seen in
jina-embeddings-v5, 2602.15547), so the anchor to the original vectors is not optional.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class OnlineTeacher(nn.Module):
    """t' = norm(t + U Vᵀ t) with U, V float32[dim, rank]; U = 0 at the start, so t' = t."""

    def __init__(self, dimension: int, rank: int) -> None:
        super().__init__()
        self.up = nn.Parameter(torch.zeros(dimension, rank))
        self.down = nn.Parameter(torch.randn(dimension, rank) / dimension**0.5)

    def forward(self, unit: Tensor) -> Tensor:
        """Turn unit teacher vectors float[n, dim]; with U = 0 the same vectors, bit for bit."""
        moved = unit + (unit @ self.down) @ self.up.T
        # As norm(moved) for unit vectors; written as a ratio, which is exactly 1 as long as nothing has moved.
        turned: Tensor = moved * (unit.norm(dim=-1, keepdim=True) / moved.norm(dim=-1, keepdim=True))
        return turned


def adapter_loss(adapted: Tensor, unit: Tensor, student: Tensor, *, pull: float, anchor: float) -> Tensor:
    """What trains the module: λ · mean (1 − cos(t'_i, s_i)) + μ · mean ‖t'_i − t_i‖², gradients for t' only.

    Args:
        adapted: t', float[B, dim].
        unit: t, float[B, dim].
        student: float[B, dim], any length.
        pull: λ, towards the student.
        anchor: μ, towards the teacher as it was. Without it all t' end alike.
    """
    towards_student = 1 - F.cosine_similarity(adapted.float(), student.detach().float(), dim=-1).mean()
    from_teacher = (adapted - unit).float().square().sum(dim=-1).mean()
    return pull * towards_student + anchor * from_teacher


def mean_cosine(vectors: Tensor) -> Tensor:
    """Mean cosine between two different vectors of a batch, float32[]: a collapse shows as a rise towards 1."""
    unit = F.normalize(vectors.float(), dim=-1)
    count = len(unit)
    return (unit.sum(dim=0).square().sum() - count) / max(count * (count - 1), 1)
