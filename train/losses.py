"""The objectives as pure functions of tensors. No models, no state, no I/O.

Vectors called `student` and `teacher` are float[batch, dim], row i belonging to text i, normalised where the formula
says z and k; teacher vectors never receive gradients.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def ckd(student: Tensor, teacher: Tensor, queue: Tensor, temperature: Tensor | float) -> Tensor:
    """Contrastive knowledge distillation: InfoNCE from student to teacher vectors (DistilCSE, equation 5).

    −1/B Σ_i log( exp(z_i·k_i/τ) / ( Σ_j exp(z_i·k_j/τ) + Σ_q exp(z_i·q/τ) ) ): the positive is the teacher's vector of
    the same text; negatives are its vectors of the batch's other texts and of the queue. Student vectors are
    never keys.

    Args:
        student: float[B, dim], any length.
        teacher: float[B, dim], any length.
        queue: unit teacher vectors of earlier batches, float[K, dim]; K may be 0.
        temperature: τ > 0.
    """
    keys = torch.cat([F.normalize(teacher, dim=-1), queue.to(teacher.dtype)])
    logits = (F.normalize(student, dim=-1) @ keys.T).float() / temperature
    return F.cross_entropy(logits, torch.arange(len(student), device=logits.device))


def cosine_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean of 1 − cos(student_i, teacher_i), in [0, 2]."""
    return 1 - F.cosine_similarity(student.float(), teacher.float(), dim=-1).mean()


def mse(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared error over batch and components of the vectors as they come: the paper's KD baseline."""
    return F.mse_loss(student.float(), teacher.float())


def contrastive(anchor: Tensor, positive: Tensor, negative: Tensor, temperature: float) -> Tensor:
    """Supervised SimCSE with hard negatives (Gao et al. 2021, equation 5).

    −1/B Σ_i log( e^{cos(a_i,p_i)/τ} / ( Σ_j e^{cos(a_i,p_j)/τ} + Σ_m e^{cos(a_i,n_m)/τ} ) ).

    Args:
        anchor: float[B, dim].
        positive: float[B, dim].
        negative: float[M, dim]; every row is a negative of every anchor, M may be 0 and need not be B.
        temperature: τ > 0.
    """
    candidates = F.normalize(torch.cat([positive, negative]).float(), dim=-1)
    logits = F.normalize(anchor.float(), dim=-1) @ candidates.T / temperature
    return F.cross_entropy(logits, torch.arange(len(anchor), device=logits.device))
