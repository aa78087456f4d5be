"""By what a student is selected while it trains: STS-B dev, or agreement with the teacher where there is none.

Knows how to score a student; knows neither objectives nor checkpoints.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from bundle.arrays import Ids, Vectors, normalize
from bundle.quality import spearman
from bundle.sts import SELECTION, score
from train.student import embed_rows

_BATCH = 64


class Selection(Protocol):
    """Scores a student; higher is better."""

    name: str

    def __call__(self, student: SentenceTransformer) -> float:
        """Spearman × 100."""
        ...


class StsSelection:
    """Spearman × 100 on STS-B dev, the only benchmark data that may choose a student."""

    name = SELECTION

    def __init__(self, data: Path, *, prompt: str = "") -> None:
        """`prompt` is put before every sentence."""
        self._data = data
        self._prompt = prompt

    def __call__(self, student: SentenceTransformer) -> float:
        """See `Selection`."""
        return score(lambda texts: encode_texts(student, texts, prompt=self._prompt), self._data, SELECTION)


class AgreementSelection:
    """Spearman × 100 between the student's and the teacher's similarities of held-out texts.

    Compares similarities rather than vectors, so that it also works where dimensions differ.
    """

    name = "agreement with the teacher"

    def __init__(self, texts: Sequence[Ids], teacher_vectors: Vectors) -> None:
        self._texts = texts
        self._upper = np.triu_indices(len(texts), k=1)
        self._reference = self._similarities(teacher_vectors)

    def __call__(self, student: SentenceTransformer) -> float:
        """See `Selection`."""
        with torch.inference_mode():
            vectors = [
                embed_rows(student, self._texts[start : start + _BATCH]).float().cpu().numpy()
                for start in range(0, len(self._texts), _BATCH)
            ]
        return 100 * spearman(self._similarities(np.concatenate(vectors)), self._reference)

    def _similarities(self, vectors: Vectors) -> Vectors:
        unit = normalize(vectors)
        similarities: Vectors = (unit @ unit.T)[self._upper]
        return similarities


def encode_texts(model: SentenceTransformer, texts: Sequence[str], *, prompt: str | None = None) -> Vectors:
    """Embed with a loaded model as float32[n, dim], `prompt` put before every text; None: the model's own default."""
    own = prompt is None
    prompted = list(texts) if own else [f"{prompt}{text}" for text in texts]
    encoded = model.encode(prompted, prompt=None if own else "", batch_size=_BATCH, show_progress_bar=False)
    return np.asarray(encoded, np.float32)
