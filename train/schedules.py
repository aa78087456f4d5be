"""The settings of each stage of training: a part of the recipe, typed and checked. Knows no torch."""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from train.sources import Pairs, Section, Texts

Fraction = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]


class Schedule(Section):
    """What all stages have in common."""

    examples: int = Field(ge=1, description="training examples in all; more than there are means several epochs")
    batch_size: int = Field(256, ge=2, description="examples a step, at most")
    batch_tokens: int = Field(
        16_384,
        ge=64,
        description="padded tokens a step, at most, of a pair those of its longest text: long texts make smaller "
        "batches",
    )
    max_length: int = Field(64, ge=4, description="texts are cut to so many tokens in this stage")
    learning_rate: float = Field(gt=0, description="peak of the schedule")
    warmup: Fraction = Field(0.05, description="share of the stage in which the learning rate rises linearly")
    decay: Literal["cosine", "linear"] = Field("cosine", description="how it falls to zero afterwards")
    weight_decay: Weight = Field(0.0, description="AdamW's decoupled weight decay")
    dropout: Fraction = Field(0.0, description="hidden and attention dropout of the layers in this stage")
    max_gradient_norm: float = Field(1.0, gt=0, description="gradients are clipped to this norm")
    evaluations: int = Field(
        10, ge=1, description="how often the student is scored for selection, and a checkpoint kept"
    )
    keep: Literal["best", "last", "mean"] = Field(
        "best",
        description="the weights the stage ends with: those that scored best, the last, or the mean over all "
        "evaluations, whatever they scored",
    )
    start_share: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="blend so much of the weights that the stage started from into those it is scored and kept by"
    )

    def rate(self, done: float) -> float:
        """The learning rate when `done` ∈ [0, 1] of the stage is over: linear warm-up, then decay to zero."""
        if done < self.warmup:
            return self.learning_rate * done / self.warmup
        left = (1 - done) / max(1 - self.warmup, 1e-9)
        return self.learning_rate * (0.5 * (1 - math.cos(math.pi * left)) if self.decay == "cosine" else left)

    def evaluates(self, before: int, after: int) -> bool:
        """Whether an evaluation is due after a step that took the examples seen from `before` to `after`."""
        return self._due(after) > self._due(before)

    def _due(self, examples: int) -> int:
        return examples * self.evaluations // self.examples


class Pretrain(Schedule):
    """Before stage 1: the student learns to tell what the teacher makes of labelled triplets (after Pea-KD's PTP)."""

    pairs: tuple[Pairs, ...] = Field(
        min_length=1, description="labelled pairs with hard negatives, as `finetune.pairs`"
    )
    learning_rate: float = Field(1e-4, gt=0, description="peak of the schedule")
    confidence: float = Field(
        0.2, ge=0, lt=2, description="the teacher is confident where cosines to positive and negative differ by more"
    )

    @model_validator(mode="after")
    def _has_negatives(self) -> Self:
        for source in self.pairs:
            if len(source.columns) != 3 or source.path.startswith("builtin:"):
                raise ValueError(f"pretraining needs triplets, and {source.path} has no negatives")
        return self


class TruncatingSchedule(Schedule):
    """A stage that may also train the vectors' leading dimensions, each number of them for itself (Matryoshka)."""

    dimensions: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (),
        description="also train so many leading dimensions to do alone, e.g. [256, 128, 64]; the loss is the mean over "
        "these and the whole vector",
    )

    @model_validator(mode="after")
    def _dimensions_differ(self) -> Self:
        if len(set(self.dimensions)) < len(self.dimensions):
            raise ValueError(f"dimensions = {list(self.dimensions)} names one twice")
        return self


class Objectives(Section):
    """The weight of each distillation objective; the loss is their weighted sum."""

    ckd: Weight = Field(0.0, description="InfoNCE from student to teacher vectors (DisCo)")
    rrd: Weight = Field(0.0, description="CKD with the teacher's similarities as soft labels (RRD)")
    skew_kl: Weight = Field(0.0, description="skewed KL from the teacher's to the student's neighbours (DistiLLM)")
    skew_rkl: Weight = Field(0.0, description="the same in reverse direction (DistiLLM)")
    jsd: Weight = Field(0.0, description="Jensen–Shannon divergence of the neighbours (GKD)")
    atkd: Weight = Field(0.0, description="target and neighbours apart, split by the teacher's uncertainty (ATKD)")
    skd: Weight = Field(0.0, description="KL on keys the student proposes and the teacher verifies (SKD)")
    okd: Weight = Field(0.0, description="CKD against a teacher that is adapted meanwhile (OKD)")
    cosine: Weight = Field(0.0, description="1 - cosine between student and teacher vector")
    mse: Weight = Field(
        0.0, description="mean squared error between unit vectors; the student's as projected, if it is"
    )
    comparative: Weight = Field(0.0, description="squared error between differences of two vectors (Comparative KD)")
    similarity: Weight = Field(0.0, description="squared error between the batch's similarities (Stella, Jasper)")
    triplet_order: Weight = Field(0.0, description="hinge on the teacher's order of similarities (Jasper)")
    mixkd: Weight = Field(0.0, description="1 - cosine on blended texts and blended teacher vectors (MixKD)")

    @model_validator(mode="after")
    def _is_not_empty(self) -> Self:
        if not any(self.weights.values()):
            raise ValueError(f"one of {', '.join(self.weights)} must be above 0")
        return self

    @property
    def weights(self) -> dict[str, float]:
        """Every objective's weight by name, in the order above."""
        return {name: getattr(self, name) for name in type(self).model_fields}


class Distil(TruncatingSchedule):
    """Stage 1, distillation on unlabelled text; by default contrastive (DistilCSE, section 3.2)."""

    texts: tuple[Texts, ...] = Field(min_length=1, description="unlabelled text")
    pairs: tuple[Pairs, ...] = Field((), description="pairs whose texts are distilled as well, their labels unused")
    learning_rate: float = Field(3e-4, gt=0, description="peak of the schedule")
    objectives: Objectives = Field(
        Objectives(ckd=1, cosine=10), description="what is left out of a section that is given weighs 0"
    )
    queue_size: int = Field(16_384, ge=0, description="teacher vectors of earlier batches kept as negatives")
    temperature: float = Field(0.05, gt=0, description="divides the cosines; the start where it is learnt")
    learn_temperature: bool = Field(False, description="train the temperature as in the authors' code")
    label_temperature: float = Field(
        0.05, gt=0, description="rrd, skew_kl, skew_rkl, jsd, atkd, skd: divides the teacher's own cosines"
    )
    skew: float = Field(0.1, ge=0, lt=1, description="skew_kl, skew_rkl: share of the other side in the mixture")
    jsd_share: float = Field(0.5, gt=0, lt=1, description="jsd: share of the student in the mixture")
    atkd_easy: Fraction = Field(0.2, description="atkd: weight of texts isolated for the teacher; the rest is hard")
    skd_candidates: int = Field(64, ge=1, description="skd: keys the student proposes for each text")
    skd_rank: int = Field(256, ge=0, description="skd: a proposal stays if it is among so many nearest keys")
    okd_rank: int = Field(32, ge=1, description="okd: rank of the adapter on the teacher's vectors")
    okd_pull: Weight = Field(0.5, description="okd: draws the adapted teacher towards the student")
    okd_anchor: float = Field(1.0, gt=0, description="okd: holds it to the teacher as it was")
    triplet_margin: Weight = Field(0.015, description="triplet_order: margin of the hinge, in cosine")
    mixkd_concentration: float = Field(0.4, gt=0, description="mixkd: c of Beta(c, c), which the shares come from")

    @model_validator(mode="after")
    def _objectives_can_be_truncated(self) -> Self:
        if self.dimensions and (self.objectives.okd or self.objectives.mixkd):
            raise ValueError("okd and mixkd know whole vectors only: set them to 0, or leave out `dimensions`")
        return self


class Finetune(TruncatingSchedule):
    """Stage 2, contrastive finetuning on labelled pairs (supervised SimCSE)."""

    pairs: tuple[Pairs, ...] = Field(min_length=1, description="labelled pairs")
    learning_rate: float = Field(5e-5, gt=0, description="peak of the schedule")
    temperature: float = Field(0.05, gt=0, description="divides the cosines")
    distil_weight: Weight = Field(0.0, description="keeps 1 - cosine to the teacher's vectors in the loss")
