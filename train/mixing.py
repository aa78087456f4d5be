"""MixKD: texts blended in the student's embedding space, with the blend of their teacher vectors as target.

The teacher does not read the blend, its cached vectors are mixed instead (MixKD, 2011.00593, has it read a blend of its
own embeddings, which costs a teacher's pass a step). Knows no loss.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from torch import Tensor


@dataclass(frozen=True)
class Mix:
    """Which texts of a batch are blended, and how: λ_p · text first_p + (1 − λ_p) · text second_p."""

    first: Tensor
    """int64[P]."""
    second: Tensor
    """int64[P]."""
    share: Tensor
    """float32[P], λ in [0, 1]."""

    def of(self, rows: Tensor) -> Tensor:
        """Blend rows of float[B, …], giving float[P, …]."""
        share = self.share.view(-1, *[1] * (rows.dim() - 1))
        return share * rows[self.first] + (1 - share) * rows[self.second]

    def take(self, blends: NDArray[np.int64]) -> "Mix":
        """Only these of the P blends."""
        return Mix(self.first[blends], self.second[blends], self.share[blends])


def draw_mix(batch: int, concentration: float, device: torch.device) -> Mix:
    """Pair one half of the batch with the other, λ ~ Beta(c, c); draws from the CPU's global random state."""
    order, half = torch.randperm(batch, device="cpu"), (batch + 1) // 2
    share = torch.distributions.Beta(concentration, concentration).sample((half,))
    return Mix(order[:half].to(device), order[-half:].to(device), share.to(device))


def mixed_vectors(student: SentenceTransformer, input_ids: Tensor, attention_mask: Tensor, mix: Mix) -> Tensor:
    """The student's vectors of blended token embeddings, float[P, dim], with gradients.

    A position counts where a text with a share above 0 has a token; where only one of the two has, the blend is that
    token fading out. So λ = 1 and 0 give the vector of the one text, whatever the length of the other.

    Args:
        student: its first module must be a transformer that takes `inputs_embeds`.
        input_ids: int64[B, length].
        attention_mask: int64[B, length], 1 on real tokens.
        mix: which texts to blend.
    """
    transformer: Any = student[0]
    tokens = transformer.auto_model.get_input_embeddings()(input_ids) * attention_mask.unsqueeze(-1)
    counts = (mix.of(attention_mask.float()) > 0).long()
    vectors: Tensor = student({"inputs_embeds": mix.of(tokens), "attention_mask": counts})["sentence_embedding"]
    return vectors


def mixed_targets(teacher: Tensor, mix: Mix) -> Tensor:
    """norm(λ t_i + (1 − λ) t_j) of unit vectors float[B, dim], float[P, dim]."""
    return F.normalize(mix.of(teacher), dim=-1)
