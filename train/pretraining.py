"""Before distilling, the student learns to tell what its teacher makes of labelled triplets.

This adapts Pea-KD's pretraining with teacher's predictions (PTP, 2009.14822), which sorts the examples of a
classification task into four classes by whether the teacher's prediction is correct and confident. A sentence encoder
predicts no class; here it is right where the anchor's cosine to the positive is above that to the negative, and
confident where the two differ clearly. Knows no distillation.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

from train.batches import Rows
from train.corpus import TeacherVectors, TokenizedPairs
from train.distributed import in_shares
from train.errors import DataError
from train.loop import Objective
from train.student import embed_rows

CLASSES = ("wrong and unsure", "wrong and confident", "right and unsure", "right and confident")
SELECTION = "accuracy × 100 on held-back triplets"

_HELD_BACK = 1000
_SCORED_AT_ONCE = 64
_SORTED_AT_ONCE = 8192


def sort_by_teacher(triplets: NDArray[np.int64], vectors: TeacherVectors, confidence: float) -> NDArray[np.int64]:
    """The place in `CLASSES` of each triplet, int64[n].

    Args:
        triplets: int64[n, 3], rows of `vectors`: anchor, positive, negative.
        vectors: the teacher's unit vectors.
        confidence: the teacher is confident where its two cosines differ by more.
    """
    classes = np.empty(len(triplets), dtype=np.int64)
    for start in range(0, len(triplets), _SORTED_AT_ONCE):
        anchor, positive, negative = (vectors[rows] for rows in triplets[start : start + _SORTED_AT_ONCE].T)
        margin = np.einsum("nd,nd->n", anchor, positive - negative)
        classes[start : start + len(margin)] = 2 * (margin > 0) + (np.abs(margin) > confidence)
    return classes


def triplet_features(anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """[a·p, a·n, |a−p|, |a−n|], component by component: float[n, dim] each → float[n, 4 dim].

    The cosines' difference, by which the teacher's classes are told apart, is a linear function of them.
    """
    # Components of mean square 1: those of unit vectors are so small that a linear head would take ages to grow.
    scale = anchor.shape[1] ** 0.5
    a, p, n = (scale * F.normalize(vectors.float(), dim=-1) for vectors in (anchor, positive, negative))
    return torch.cat([a * p, a * n, (a - p).abs(), (a - n).abs()], dim=-1)


class PretrainObjective(Objective):
    """Cross-entropy of the teacher's classes, predicted by a linear head that is thrown away afterwards."""

    kept = ("student", "head")

    def __init__(
        self,
        student: SentenceTransformer,
        triplets: TokenizedPairs,
        classes: NDArray[np.int64],
        *,
        seed: int,
    ) -> None:
        """`classes`, int64[n], are those of `triplets`; a tenth of them, at most 1,000, is held back to score by.

        Raises:
            DataError: fewer than ten triplets.
        """
        super().__init__()
        if len(triplets) < 10:
            raise DataError(f"pretrain.pairs hold {len(triplets)} triplets; pretraining needs ten at least")
        dimension = student.get_embedding_dimension()
        assert dimension is not None  # pooling or token table knows it
        shuffled = np.random.default_rng(seed).permutation(len(triplets))
        held_back = min(_HELD_BACK, len(triplets) // 10)
        self.student = student
        self.head = nn.Linear(4 * dimension, len(CLASSES))
        self.to(student.device)
        self._training, self._held_back = np.sort(shuffled[held_back:]), shuffled[:held_back]
        self.lengths = triplets.longest[self._training]
        self._triplets = triplets
        self._classes = torch.from_numpy(classes)

    def loss(self, rows: Rows) -> Tensor:
        """See `Objective`."""
        triplets = self._training[rows]
        columns = self._triplets.columns[triplets]
        vectors = in_shares(self._embed, columns.T.flatten())
        loss = F.cross_entropy(self._predict(vectors), self._classes[triplets].to(vectors.device))
        self.terms = {"cross_entropy": loss.detach()}
        return loss

    @torch.inference_mode()
    def accuracy(self, student: SentenceTransformer) -> float:
        """Share of held-back triplets whose class is predicted, × 100; `student` is the one that is trained."""
        assert student is self.student
        hits = 0
        for start in range(0, len(self._held_back), _SCORED_AT_ONCE):
            triplets = self._held_back[start : start + _SCORED_AT_ONCE]
            vectors = self._embed(self._triplets.columns[triplets].T.flatten())
            hits += int((self._predict(vectors).argmax(dim=-1).cpu() == self._classes[triplets]).sum())
        return 100 * hits / len(self._held_back)

    def _embed(self, texts: Rows) -> Tensor:
        return embed_rows(self.student, [self._triplets.texts[text] for text in texts])

    def _predict(self, vectors: Tensor) -> Tensor:
        """float[n, 4] of the vectors of n anchors, n positives and n negatives."""
        logits: Tensor = self.head(triplet_features(*vectors.chunk(3)))
        return logits
