"""How close a graph's vectors are to torch's. Measures; `export.gates` judges."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from bundle.arrays import Ids, Vectors, flatten, normalize
from bundle.manifest import Precision
from bundle.native_encoder import NativeEncoder
from bundle.onnx_encoder import OnnxEncoder
from bundle.quality import Agreement, agreement, cosine, spearman
from bundle.runtime import Encoder
from bundle.text import TextEncoder
from export import samples
from export.reference import TorchReference
from export.source import Student

MIXED_BATCH = 16


class Parity(msgspec.Struct, frozen=True):
    """How a graph's vectors compare with torch's; each text is embedded alone and in a batch of mixed lengths."""

    cosine: Agreement
    ranking: float
    """Spearman correlation of the similarities of all pairs of sample sentences with torch's."""
    batch_spread: float
    """1 - least cosine between a text's vector alone and in a batch: what padding and batch-mates change."""
    tokens: list[int]
    """The length of each sample text."""
    distances: list[float]
    """1 - cosine with torch of each sample text, embedded alone."""


class Verifier:
    """Holds torch's vectors of the sample texts, to compare any number of graphs with."""

    def __init__(self, student: Student, reference: TorchReference, *, threads: int) -> None:
        self.dimension = student.dimension
        self.family = student.family
        self._pooling, self._normalized = student.pooling, student.normalized
        self._threads = threads
        self.reference = reference
        self.text_encoder = open_text_encoder(student)
        self._sentences = samples.sentences()
        texts = [*self._sentences, *samples.ladder(self.text_encoder)]
        self._expected = reference.embed(texts)
        self.ids = self.text_encoder.encode(texts)
        """The sample texts as the bundle reads them: int32[length] each."""
        self.same_tokens = _share_of_same_tokens(self.ids, [reference.token_ids(text) for text in texts])
        """The share of sample texts whose ids are the very ones that torch is given."""

    def open(self, graph: Path, precision: Precision, *, threads: int | None = None) -> Encoder:
        """Load a graph of the student as it will be served; `threads` are the verifier's unless given."""
        return OnnxEncoder(graph, dimension=self.dimension, label=precision, threads=threads or self._threads)

    def open_native(self, graph: Path) -> Encoder:
        """Load a graph of the student in the native engine, with one thread.

        Raises:
            UnsupportedGraphError: it knows no such model, or does not take its weights.
        """
        return NativeEncoder(graph, dimension=self.dimension, pooling=self._pooling, normalized=self._normalized)

    def parity(self, encoder: Encoder) -> Parity:
        """Compare `encoder` with torch."""
        alone = _embed(encoder, self.ids, batch=1)
        order = np.random.default_rng(0).permutation(len(self.ids))
        mixed = np.empty_like(alone)
        mixed[order] = _embed(encoder, [self.ids[i] for i in order], batch=MIXED_BATCH)
        count = len(self._sentences)
        return Parity(
            cosine=agreement(np.concatenate([alone, mixed]), np.concatenate([self._expected, self._expected])),
            ranking=spearman(_similarities(alone[:count]), _similarities(self._expected[:count])),
            batch_spread=1 - float(cosine(alone, mixed).min()),
            tokens=[len(ids) for ids in self.ids],
            distances=[round(1 - float(similarity), 7) for similarity in cosine(alone, self._expected)],
        )


def open_text_encoder(student: Student) -> TextEncoder:
    """Read texts as the student's bundle will."""
    return TextEncoder(
        Tokenizer.from_file(str(student.tokenizer_file)),
        max_length=student.max_length,
        prompts=student.prompts,
        default_prompt=student.default_prompt,
    )


def _share_of_same_tokens(ids: Sequence[Ids], expected: Sequence[list[int]]) -> float:
    return float(np.mean([mine.tolist() == theirs for mine, theirs in zip(ids, expected, strict=True)]))


def _embed(encoder: Encoder, texts: Sequence[Ids], *, batch: int) -> Vectors:
    batches = (texts[start : start + batch] for start in range(0, len(texts), batch))
    return np.concatenate([encoder.encode(*flatten(part)) for part in batches])


def _similarities(vectors: Vectors) -> NDArray[np.float32]:
    unit = normalize(vectors)
    pairs: NDArray[np.float32] = (unit @ unit.T)[np.triu_indices(len(unit), k=1)]
    return pairs
