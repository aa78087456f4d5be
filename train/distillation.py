"""The distillation objectives by their names in the recipe, each as a function of one batch. Knows no model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from train.losses import comparative, cosine_distance, mse, similarity, triplet_order
from train.relational_losses import (
    atkd,
    batch_keys,
    ckd,
    jsd,
    log_labels,
    log_probabilities,
    rrd,
    skd,
    skew_kl,
    skew_rkl,
)
from train.schedules import Distil
from train.truncation import truncate


@dataclass(frozen=True)
class Batch:
    """What an objective may ask of one batch; what several ask for is computed once."""

    config: Distil
    student: Tensor
    """float[B, dim], in the teacher's dimension unless only similarities are compared."""
    teacher: Tensor
    """float32[B, dim]."""
    queue: Tensor
    """Unit teacher vectors of earlier batches, float32[K, dim]."""
    temperature: Tensor
    """The student's τ, float32[]."""

    @cached_property
    def keys(self) -> Tensor:
        """float32[B + K, dim], own keys first."""
        return batch_keys(self.teacher, self.queue)

    @cached_property
    def log_student(self) -> Tensor:
        """The student's log-probabilities of the keys, float32[B, B + K]."""
        return log_probabilities(self.student, self.keys, self.temperature)

    @cached_property
    def log_teacher(self) -> Tensor:
        """The teacher's, float32[B, B + K]."""
        return log_labels(self.teacher, self.keys, self.config.label_temperature)

    def truncated(self, dimension: int) -> "Batch":
        """The same of the leading dimensions alone.

        Where student and teacher differ in dimension none of the teacher's corresponds to the student's leading ones,
        and the teacher stays whole: that is for objectives that compare similarities.
        """
        student = truncate(self.student, dimension)
        if self.student.shape[1] != self.teacher.shape[1]:
            return replace(self, student=student)
        return replace(
            self,
            student=student,
            teacher=truncate(self.teacher, dimension),
            queue=truncate(self.queue, dimension),
        )


Term = Callable[[Batch], Tensor]

COMPARING_SIMILARITIES = {"similarity", "triplet_order"}
"""The objectives for which student and teacher need not have the same dimension."""

# Every objective that needs nothing but the batch, by its name in the recipe.
TERMS: Mapping[str, Term] = {
    "ckd": lambda batch: ckd(batch.log_student),
    "rrd": lambda batch: rrd(batch.log_student, batch.log_teacher),
    "skew_kl": lambda batch: skew_kl(batch.log_student, batch.log_teacher, batch.config.skew),
    "skew_rkl": lambda batch: skew_rkl(batch.log_student, batch.log_teacher, batch.config.skew),
    "jsd": lambda batch: jsd(batch.log_student, batch.log_teacher, batch.config.jsd_share),
    "atkd": lambda batch: atkd(batch.log_student, batch.log_teacher, batch.config.atkd_easy),
    "skd": lambda batch: skd(
        batch.log_student, batch.log_teacher, candidates=batch.config.skd_candidates, rank=batch.config.skd_rank
    ),
    "cosine": lambda batch: cosine_distance(batch.student, batch.teacher),
    "mse": lambda batch: mse(batch.student, batch.teacher),
    "comparative": lambda batch: comparative(batch.student, batch.teacher),
    "similarity": lambda batch: similarity(batch.student, batch.teacher),
    "triplet_order": lambda batch: triplet_order(
        batch.student, batch.teacher, margin=batch.config.triplet_margin, shift=_random_shift(len(batch.student))
    ),
}


def _random_shift(texts: int) -> int:
    """Any place of a batch's list of pairs but the first, from the CPU's global random state."""
    pairs = texts * (texts - 1) // 2
    return int(torch.randint(1, max(pairs, 2), (), device="cpu"))
