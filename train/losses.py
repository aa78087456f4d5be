"""The objectives that compare vectors, as pure functions of tensors. No models, no state, no I/O.

Vectors called `student` and `teacher` are float[batch, dim], row i belonging to text i; teacher vectors never receive
gradients. Each objective is a mean, float32[], and 0 where a batch has too few texts to compare.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def cosine_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean of 1 − cos(student_i, teacher_i), in [0, 2]."""
    return 1 - F.cosine_similarity(student.float(), teacher.float(), dim=-1).mean()


def mse(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared error over batch and components of the vectors as they come: the paper's KD baseline.

    Teacher vectors are unit ones, and so are the student's unless a projection comes after them.
    """
    return F.mse_loss(student.float(), teacher.float())


def comparative(student: Tensor, teacher: Tensor) -> Tensor:
    """Comparative distillation: mean over i, j and components of ((s_i − s_j) − (t_i − t_j))², vectors as they come.

    Computed in O(B · dim) as twice the MSE that is left once the batch's mean residual is taken away, which is the
    same. Source: Comparative KD (2311.02253), pairs. Limits: blind to a constant offset between the two spaces.
    """
    residual = student.float() - teacher.float()
    return 2 * (residual - residual.mean(dim=0)).square().mean()


def similarity(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over all i, j of (cos(s_i, s_j) − cos(t_i, t_j))²; dimensions may differ.

    Source: Stella and Jasper (2412.19048), similarity loss. Limits: blind to a rotation of the student's space.
    """
    return F.mse_loss(_cosines(student), _cosines(teacher))


def triplet_order(student: Tensor, teacher: Tensor, *, margin: float, shift: int) -> Tensor:
    """Relative similarity: what the teacher finds more alike must be so for the student, by `margin`.

    Mean over comparisons of pairs (i, j) and (m, n) with cos(t_i, t_j) > cos(t_m, t_n) of
    max(0, cos(s_m, s_n) − cos(s_i, s_j) + margin); ties of the teacher count 0. All B⁴/8 comparisons would not fit into
    memory: each of the P = B (B − 1) / 2 pairs is compared with the one `shift` places on, and the mean over
    all shifts 1 … P − 1 is the mean over all comparisons, so a random shift a step estimates it without bias.
    Source: Jasper (2412.19048), relative similarity loss, margin 0.015.
    """
    first, second = torch.triu_indices(len(student), len(student), offset=1, device=student.device)
    learnt, reference = (_cosines(vectors)[first, second] for vectors in (student, teacher))
    # +1 where the teacher finds the pair more alike than the other, −1 where less.
    order = (reference - reference.roll(shift)).sign()
    hinge = F.relu(margin - order * (learnt - learnt.roll(shift)))
    return (hinge * order.abs()).sum() / max(len(learnt), 1)


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


def _cosines(vectors: Tensor) -> Tensor:
    """All similarities within a batch, float32[B, B]; small differences count here, so never in lower precision."""
    with torch.autocast(vectors.device.type, enabled=False):
        unit = F.normalize(vectors.float(), dim=-1)
        return unit @ unit.T
