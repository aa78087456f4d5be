"""The two stages' objectives: which vectors are computed and which losses join them. Knows no schedule, no files."""

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

from train.batches import Rows
from train.corpus import TeacherVectors, TextMixture, TokenizedPairs
from train.distillation import COMPARING_SIMILARITIES, TERMS, Batch, Term
from train.distributed import in_shares
from train.errors import RecipeError
from train.loop import Objective
from train.losses import contrastive, cosine_distance
from train.memory import NegativeQueue
from train.mixing import draw_mix, mixed_targets, mixed_vectors
from train.online_teacher import OnlineTeacher, adapter_loss, mean_cosine
from train.relational_losses import ckd, log_probabilities
from train.schedules import Distil, Finetune
from train.student import embed_ids, embed_rows, pad_rows
from train.truncation import refuse_too_many, truncate


class DistilObjective(Objective):
    """Stage 1: on unlabelled text, the weighted sum of the recipe's distillation objectives."""

    kept = ("student", "projection")

    def __init__(
        self,
        student: SentenceTransformer,
        projection: nn.Module,
        config: Distil,
        texts: TextMixture,
        teacher_vectors: TeacherVectors,
        rows: Rows,
    ) -> None:
        """`rows` are the texts to train on, the rest is held out.

        Raises:
            RecipeError: `config.dimensions` do not suit the student, its teacher or the objectives.
        """
        super().__init__()
        refuse_dimensions(config, student, teacher_vectors.dimension)
        self.student = student
        self.projection = projection
        self.queue = NegativeQueue(config.queue_size, teacher_vectors.dimension)
        self.log_temperature = nn.Parameter(
            torch.tensor(config.temperature).log(), requires_grad=config.learn_temperature
        )
        self._weights = {name: weight for name, weight in config.objectives.weights.items() if weight}
        if "okd" in self._weights:
            self.online_teacher = OnlineTeacher(teacher_vectors.dimension, config.okd_rank)
        self.to(student.device)
        self.lengths = texts.lengths[rows]
        self._rows = rows
        self._config = config
        self._texts = texts
        self._teacher_vectors = teacher_vectors
        self._last_batch: Tensor | None = None

    def loss(self, rows: Rows) -> Tensor:
        """See `Objective`."""
        texts = self._rows[rows]
        whole = Batch(
            config=self._config,
            student=self.projection(in_shares(self._embed, texts)),
            teacher=in_shares(self._teacher, texts),
            queue=self.queue.negatives,
            temperature=self.log_temperature.exp(),
        )
        self._last_batch = whole.teacher
        objectives: dict[str, Term] = {**TERMS, "okd": self._okd, "mixkd": lambda batch: self._mixkd(batch, texts)}
        batches = {"": whole} | {f"@{size}": whole.truncated(size) for size in self._config.dimensions}
        loss = torch.zeros((), device=self.student.device)
        self.terms = {}
        for suffix, batch in batches.items():
            for name, weight in self._weights.items():
                value = objectives[name](batch)
                self.terms[name + suffix] = value.detach()
                loss = loss + weight * value
        return loss / len(batches)

    def after_step(self) -> None:
        """Enqueue last, so that no text is its own negative."""
        if self._last_batch is not None:
            self.queue.put(self._last_batch)

    def _embed(self, texts: Rows) -> Tensor:
        return embed_ids(self.student, *self._ids(texts))

    def _teacher(self, texts: Rows) -> Tensor:
        return torch.from_numpy(self._teacher_vectors[texts]).to(self.student.device)

    def _ids(self, texts: Rows) -> tuple[Tensor, Tensor]:
        return pad_rows([self._texts[text] for text in texts], self.student.device)

    def _okd(self, batch: Batch) -> Tensor:
        """CKD against the adapted keys, which learn by a loss of their own (`online_teacher`)."""
        keys = self.online_teacher(batch.keys)
        adapted, unit = keys[: len(batch.teacher)], batch.keys[: len(batch.teacher)]
        self.terms["okd_mean_cosine"] = mean_cosine(adapted.detach())
        imitation = ckd(log_probabilities(batch.student, keys.detach(), batch.temperature))
        return imitation + adapter_loss(
            adapted, unit, batch.student, pull=batch.config.okd_pull, anchor=batch.config.okd_anchor
        )

    def _mixkd(self, batch: Batch, texts: Rows) -> Tensor:
        """1 − cosine between the student's vector of a blend and the blend of the teacher's vectors."""
        ids, mask = self._ids(texts)  # any two texts may be blended: here every rank reads them all
        mix = draw_mix(len(ids), batch.config.mixkd_concentration, ids.device)
        blends = np.arange(len(mix.share))
        vectors = in_shares(lambda share: mixed_vectors(self.student, ids, mask, mix.take(share)), blends)
        return cosine_distance(self.projection(vectors), mixed_targets(batch.keys[: len(ids)], mix))


class FinetuneObjective(Objective):
    """Stage 2: labelled pairs with hard negatives; optionally the teacher's vectors still hold the student."""

    kept = ("student", "projection")

    def __init__(
        self,
        student: SentenceTransformer,
        projection: nn.Module,
        config: Finetune,
        pairs: TokenizedPairs,
        teacher_vectors: TeacherVectors | None,
    ) -> None:
        """`teacher_vectors`: those of `pairs.texts`, needed when `distil_weight` is above 0.

        Raises:
            RecipeError: `config.dimensions` do not suit the student or, with `distil_weight`, its teacher.
        """
        super().__init__()
        refuse_dimensions(config, student, teacher_vectors.dimension if teacher_vectors else None)
        self.student = student
        self.projection = projection
        self.to(student.device)
        self.lengths = pairs.longest
        self._config = config
        self._pairs = pairs
        self._teacher_vectors = teacher_vectors

    def loss(self, rows: Rows) -> Tensor:
        """See `Objective`."""
        columns = self._pairs.columns[rows]
        flat = np.concatenate([columns[:, 0], columns[:, 1], columns[columns[:, 2] >= 0, 2]])
        vectors = in_shares(self._embed, flat)
        teacher = None
        if self._teacher_vectors is not None:
            teacher = torch.from_numpy(self._teacher_vectors[flat]).to(vectors.device)
        self.terms = {}
        loss = self._loss(vectors, teacher, len(rows), "")
        for size in self._config.dimensions:
            reference = None if teacher is None else truncate(teacher, size)
            loss = loss + self._loss(truncate(vectors, size), reference, len(rows), f"@{size}")
        return loss / (1 + len(self._config.dimensions))

    def _loss(self, vectors: Tensor, teacher: Tensor | None, pairs: int, suffix: str) -> Tensor:
        """That of the whole vectors or of truncated ones, told apart by `suffix` in the history."""
        anchor, positive, negative = vectors.split([pairs, pairs, len(vectors) - 2 * pairs])
        loss = contrastive(anchor, positive, negative, self._config.temperature)
        self.terms["contrastive" + suffix] = loss.detach()
        if teacher is not None:
            distance = cosine_distance(self.projection(vectors), teacher)
            self.terms["cosine" + suffix] = distance.detach()
            loss = loss + self._config.distil_weight * distance
        return loss

    def _embed(self, texts: Rows) -> Tensor:
        return embed_rows(self.student, [self._pairs.texts[text] for text in texts])


def refuse_dimensions(config: Distil | Finetune, student: SentenceTransformer, teacher: int | None) -> None:
    """See to it that vectors can be truncated, and compared with the teacher's once they are.

    `teacher` is its dimension; None: it is not asked for anything.

    Raises:
        RecipeError: `config.dimensions` do not suit the student, its teacher or the objectives.
    """
    if not config.dimensions:
        return
    dimension = student.get_embedding_dimension()
    assert dimension is not None  # pooling or token table knows it
    refuse_too_many(config.dimensions, dimension)
    if teacher is None or teacher == dimension:
        return
    if isinstance(config, Finetune):
        raise RecipeError(
            f"finetune.dimensions with distil_weight: the student has {dimension} dimensions, the teacher {teacher}, "
            "so none of them correspond; leave out one of the two"
        )
    weights = config.objectives.weights
    if others := [name for name, weight in weights.items() if weight and name not in COMPARING_SIMILARITIES]:
        raise RecipeError(
            f"distil.dimensions with {', '.join(others)}: the student has {dimension} dimensions, the teacher "
            f"{teacher}, so none of them correspond; only {' and '.join(sorted(COMPARING_SIMILARITIES))} can be asked "
            "of truncated vectors here"
        )
