"""Objectives that ask whom a text resembles: student and teacher as distributions over the same keys. Pure tensors.

One kernel serves them all. The keys are teacher vectors, those of the batch first and those of earlier batches after
them, so the own key of text i is key i. Cosines to the C keys, divided by a temperature, give each text two
log-distributions, the student's log p^S_i and the teacher's log p^T_i; an objective is what it makes of the two.

Arguments called `log_student` and `log_teacher` are float32[B, C] from `log_probabilities` and `log_labels`; every
objective is a mean over the B texts, float32[], with gradients for the student only, and 0 where a text has no key but
its own. Vectors know their length nowhere here: all are compared by cosine.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def batch_keys(teacher: Tensor, queue: Tensor) -> Tensor:
    """The keys of a batch, unit vectors float[B + K, dim]: own keys first, then the queue's unit vectors."""
    return torch.cat([F.normalize(teacher, dim=-1), queue.to(teacher.dtype)])


def log_probabilities(vectors: Tensor, keys: Tensor, temperature: Tensor | float) -> Tensor:
    """The logarithm of softmax_j(cos(v_i, k_j) / τ), float32[B, C], of float[B, dim] over unit keys float[C, dim]."""
    return F.log_softmax((F.normalize(vectors, dim=-1) @ keys.T).float() / temperature, dim=-1)


@torch.no_grad()
def log_labels(teacher: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """`log_probabilities` of the teacher itself, to serve as soft labels: no gradient, always in full precision.

    A low temperature magnifies rounding.
    """
    with torch.autocast(teacher.device.type, enabled=False):
        return log_probabilities(teacher.float(), keys.float(), temperature)


def ckd(log_student: Tensor) -> Tensor:
    """Contrastive knowledge distillation: −1/B Σ_i log p^S_i(i), InfoNCE from student to teacher vectors.

    The positive is the teacher's vector of the same text; negatives are its vectors of the batch's other texts and
    of the queue. Student vectors are never keys. Source: DisCo / DistilCSE (2112.05638).
    Limits: a perfect student's loss vanishes with τ; τ → ∞ gives log C.
    """
    return F.nll_loss(log_student, torch.arange(len(log_student), device=log_student.device))


def rrd(log_student: Tensor, log_teacher: Tensor) -> Tensor:
    """Relational representation distillation: −1/B Σ_i Σ_j p^T_i(j) log p^S_i(j), CKD with soft labels.

    Source: RRD (2407.12073), its loss over the memory of teacher vectors.
    Limits: label temperature → 0 gives CKD, since the own key's cosine of 1 is the largest; p^S = p^T gives the
    entropy of p^T and no gradient. Differs from KL(p^T ‖ p^S) by that entropy, a constant.
    """
    return -(log_teacher.exp() * log_student).sum(dim=-1).mean()


def skew_kl(log_student: Tensor, log_teacher: Tensor, skew: float) -> Tensor:
    """Skew KL: KL(p^T ‖ a p^T + (1−a) p^S), whose gradient stays bounded where the student ignores a neighbour.

    Source: DistiLLM (2402.03898), a = 0.1; unlike its code this keeps the teacher's entropy.
    Limits: a → 0 gives KL(p^T ‖ p^S); p^S = p^T gives 0; never above −log a.
    """
    return _kl(log_teacher, _mixture(log_teacher, log_student, skew)).mean()


def skew_rkl(log_student: Tensor, log_teacher: Tensor, skew: float) -> Tensor:
    """Skew reverse KL: KL(p^S ‖ (1−a) p^T + a p^S); drops neighbours rather than smear over all of them.

    Source: DistiLLM (2402.03898), a = 0.1.
    Limits: a → 0 gives KL(p^S ‖ p^T); p^S = p^T gives 0; never above −log a.
    """
    return _kl(log_student, _mixture(log_student, log_teacher, skew)).mean()


def jsd(log_student: Tensor, log_teacher: Tensor, share: float) -> Tensor:
    """Jensen–Shannon divergence: (1−l) KL(p^T ‖ m) + l KL(p^S ‖ m) with m = (1−l) p^T + l p^S.

    Source: the generalised form of GKD (2306.13649).
    Limits: l = 1/2 is symmetric and at most log 2; p^S = p^T gives 0.
    """
    mean = _mixture(log_student, log_teacher, share)
    return ((1 - share) * _kl(log_teacher, mean) + share * _kl(log_student, mean)).mean()


def atkd(log_student: Tensor, log_teacher: Tensor, easy: float) -> Tensor:
    """Adaptive teaching: `easy` × mean DKD of easy texts + (1 − `easy`) × mean (TKD + DKD) of hard ones.

    KL(p^T ‖ p^S) = TKD + UNC · DKD (`split_kl`): where the teacher is sure of the own key, its uncertainty UNC
    suppresses what can be learnt of neighbours, so DKD counts in full here. Easy are the texts whose UNC lies strictly
    below the batch's lower median, isolated ones; ties are hard, and so is a whole batch of equals.
    Source: ATKD (2402.11890), easy = 0.2, split as in its code.
    Limits: nobody easy leaves (1 − `easy`) × mean (TKD + DKD).
    """
    target, others, uncertainty = split_kl(log_student, log_teacher)
    is_easy = uncertainty < uncertainty.median()
    return easy * _masked_mean(others, is_easy) + (1 - easy) * _masked_mean(target + others, ~is_easy)


def split_kl(log_student: Tensor, log_teacher: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(TKD, DKD, UNC), float32[B] each, with KL(p^T ‖ p^S) = TKD + UNC · DKD per text.

    TKD is the KL of (own key, rest), DKD that of the other keys among themselves, UNC = 1 − p^T(own key). All in log
    space: finite where the teacher is certain.
    """
    target = _kl(_own_or_rest(log_teacher), _own_or_rest(log_student))
    others = _kl(_others(log_teacher), _others(log_student))
    return target, others, -torch.expm1(log_teacher.diagonal())


def skd(
    log_student: Tensor, log_teacher: Tensor, *, candidates: int, rank: int, generator: torch.Generator | None = None
) -> Tensor:
    """Speculative distillation: KL(p^T ‖ p^S), both renormalised to the keys of `propose_and_verify`.

    Hard negatives chosen by the student, filtered by the teacher. Gradients flow through p^S on the chosen keys, not
    through choosing. Source: SKD (2410.11325), with keys in place of tokens.
    Limits: `candidates` ≥ C − 1 gives KL(p^T ‖ p^S) over all keys, whatever `rank`.
    """
    chosen = propose_and_verify(log_student, log_teacher, candidates=candidates, rank=rank, generator=generator)
    student, teacher = (log.gather(1, chosen).log_softmax(dim=-1) for log in (log_student, log_teacher))
    return _kl(teacher, student).mean()


@torch.no_grad()
def propose_and_verify(
    log_student: Tensor, log_teacher: Tensor, *, candidates: int, rank: int, generator: torch.Generator | None = None
) -> Tensor:
    """Choose keys: the own one, and m = min(`candidates`, C − 1) distinct others, int64[B, 1 + m].

    The student draws m from p^S without replacement. Those the teacher ranks among its `rank` nearest other keys stay;
    each of the rest is replaced by a draw from p^T without replacement. rank ≥ C − 1 accepts all, 0 none.
    `generator` must live on the tensors' device; None draws from that device's global state.
    """
    others = log_student.shape[1] - 1
    count = min(candidates, others)
    proposed = _mark_largest(_perturbed(log_student, generator), count)
    verified = _mark_largest(_without_own(log_teacher), min(rank, others))
    # Accepted keys come first, then the teacher's draws in their order: one top-k replaces exactly the rejected ones.
    priority = _perturbed(log_teacher, generator).masked_fill(proposed & verified, math.inf)
    own = torch.arange(len(log_student), device=log_student.device).unsqueeze(1)
    return torch.cat([own, priority.topk(count, dim=-1).indices], dim=-1)


def _kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p ‖ q) of each row, float32[B]."""
    return (log_p.exp() * (log_p - log_q)).sum(dim=-1)


def _mixture(log_p: Tensor, log_q: Tensor, share: float) -> Tensor:
    """log(share · p + (1 − share) · q), exact at share = 0 and 1."""
    if share in (0, 1):
        return log_p if share else log_q
    return torch.logaddexp(log_p + math.log(share), log_q + math.log1p(-share))


def _own(log_probabilities: Tensor) -> Tensor:
    """bool[B, C], true where a key is the text's own."""
    return torch.eye(*log_probabilities.shape, dtype=torch.bool, device=log_probabilities.device)


def _without_own(log_probabilities: Tensor) -> Tensor:
    return log_probabilities.masked_fill(_own(log_probabilities), -math.inf)


def _others(log_probabilities: Tensor) -> Tensor:
    """The log-distribution over the other keys, with 0 for the own one: it adds exp(0) · (0 − 0) to a KL, nothing."""
    return _without_own(log_probabilities).log_softmax(dim=-1).masked_fill(_own(log_probabilities), 0.0)


def _own_or_rest(log_probabilities: Tensor) -> Tensor:
    """The log-distribution over (own key, any other), float32[B, 2]; finite where there is no other."""
    rest = _without_own(log_probabilities).logsumexp(dim=-1).clamp(min=torch.finfo(torch.float32).min)
    return torch.stack([log_probabilities.diagonal(), rest], dim=-1)


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    return (values * mask).sum() / mask.sum().clamp(min=1)


def _perturbed(log_probabilities: Tensor, generator: torch.Generator | None) -> Tensor:
    """Scores whose m largest are a draw of m keys without replacement, never the own one (Gumbel top-k, 1903.06059)."""
    noise = torch.empty_like(log_probabilities).exponential_(generator=generator)
    return _without_own(log_probabilities - noise.log())


def _mark_largest(scores: Tensor, count: int) -> Tensor:
    """bool[B, C], true at the `count` largest of each row."""
    return torch.zeros_like(scores, dtype=torch.bool).scatter(1, scores.topk(count, dim=-1).indices, True)
