"""The two stages' objectives: which vectors are computed and which losses join them. Knows no schedule, no files."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

from bundle.arrays import Ids
from train.batches import Rows
from train.config import Distil, Finetune
from train.corpus import TextMixture, TokenizedTexts, VectorMixture
from train.loop import Objective
from train.losses import ckd, contrastive, cosine_distance, mse
from train.memory import NegativeQueue
from train.student import embed_ids, pad_rows


class DistilObjective(Objective):
    """Stage 1: the student's vector of a text is drawn to the teacher's and away from those of other texts."""

    def __init__(
        self,
        student: SentenceTransformer,
        projection: nn.Module,
        config: Distil,
        texts: TextMixture,
        teacher_vectors: VectorMixture,
        rows: Rows,
    ) -> None:
        """`rows` are the texts to train on, the rest is held out."""
        super().__init__()
        self.student = student
        self.projection = projection
        self.queue = NegativeQueue(config.queue_size, teacher_vectors.dimension)
        self.log_temperature = nn.Parameter(
            torch.tensor(config.temperature).log(), requires_grad=config.learn_temperature
        )
        self.to(student.device)
        self.lengths = np.minimum(texts.lengths[rows], config.max_length)
        self._rows = rows
        self._config = config
        self._texts = texts
        self._teacher_vectors = teacher_vectors
        self._last_batch: Tensor | None = None

    def loss(self, rows: Rows) -> Tensor:
        """See `Objective`."""
        config = self._config
        texts = self._rows[rows]
        teacher = torch.from_numpy(self._teacher_vectors[texts]).to(self.student.device)
        student = self.projection(embed_rows(self.student, [self._texts[text] for text in texts], config.max_length))
        self._last_batch = teacher
        loss = torch.zeros((), device=teacher.device)
        if config.ckd_weight:
            loss = loss + config.ckd_weight * ckd(student, teacher, self.queue.negatives, self.log_temperature.exp())
        if config.cosine_weight:
            loss = loss + config.cosine_weight * cosine_distance(student, teacher)
        if config.mse_weight:
            loss = loss + config.mse_weight * mse(student, teacher)
        return loss

    def after_step(self) -> None:
        """Enqueue last, so that no text is its own negative."""
        if self._last_batch is not None:
            self.queue.put(self._last_batch)


class FinetuneObjective(Objective):
    """Stage 2: labelled pairs with hard negatives; optionally the teacher's vectors still hold the student."""

    def __init__(
        self,
        student: SentenceTransformer,
        projection: nn.Module,
        config: Finetune,
        pairs: "TokenizedPairs",
        teacher_vectors: NDArray[np.float32] | None,
    ) -> None:
        """`teacher_vectors`: float32[texts, dim] of `pairs.texts`, needed when `distil_weight` is above 0."""
        super().__init__()
        self.student = student
        self.projection = projection
        self.to(student.device)
        self.lengths = np.minimum(pairs.longest, config.max_length)
        self._config = config
        self._pairs = pairs
        self._teacher_vectors = teacher_vectors

    def loss(self, rows: Rows) -> Tensor:
        """See `Objective`."""
        config = self._config
        columns = self._pairs.columns[rows]
        flat = np.concatenate([columns[:, 0], columns[:, 1], columns[columns[:, 2] >= 0, 2]])
        vectors = embed_rows(self.student, [self._pairs.texts[text] for text in flat], config.max_length)
        anchor, positive, negative = vectors.split([len(rows), len(rows), len(flat) - 2 * len(rows)])
        loss = contrastive(anchor, positive, negative, config.temperature)
        if self._teacher_vectors is not None:
            teacher = torch.from_numpy(self._teacher_vectors[flat]).to(vectors.device)
            loss = loss + config.distil_weight * cosine_distance(self.projection(vectors), teacher)
        return loss


class TokenizedPairs:
    """Pairs as rows of indices into distinct texts: int64[n, 3] (anchor, positive, negative or −1)."""

    def __init__(self, texts: TokenizedTexts, columns: NDArray[np.int64]) -> None:
        self.texts = texts
        self.columns = columns
        padded = np.append(texts.lengths, 0)  # index −1, a missing negative, has length 0
        self.longest: NDArray[np.int64] = padded[columns].max(axis=1)


def embed_rows(student: SentenceTransformer, rows: Sequence[Ids], max_length: int) -> Tensor:
    """The student's vectors of ragged ids cut to `max_length`, float[n, dim], with gradients."""
    input_ids, attention_mask = pad_rows([_cut(row, max_length) for row in rows])
    return embed_ids(student, input_ids.to(student.device), attention_mask.to(student.device))


def _cut(ids: Ids, max_length: int) -> Tensor:
    """At most `max_length` ids, the last special token kept."""
    if len(ids) > max_length:
        ids = np.append(ids[: max_length - 1], ids[-1])
    return torch.from_numpy(ids.astype(np.int64))
