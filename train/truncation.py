"""Matryoshka: the leading dimensions of a vector as a vector of their own (2205.13147). Knows no objective."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from train.errors import RecipeError


def truncate(vectors: Tensor, dimension: int) -> Tensor:
    """The leading components, scaled to unit length again: float[n, dim] → float[n, dimension]."""
    return F.normalize(vectors[:, :dimension], dim=-1)


def refuse_too_many(dimensions: Sequence[int], student: int) -> None:
    """See to it that each of `dimensions` is fewer than the student's.

    Raises:
        RecipeError: one is not.
    """
    if too_many := [dimension for dimension in dimensions if dimension >= student]:
        raise RecipeError(
            f"dimensions = {list(dimensions)}: {too_many[0]} is no truncation of the student's {student} dimensions, "
            "which are trained in any case; leave it out"
        )
