"""Texts → vectors in one call, for evaluation and export. The server schedules its own batches instead."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from bundle.arrays import Vectors, flatten
from bundle.layout import Bundle
from bundle.manifest import Precision
from bundle.runtime import Encoder, open_encoder
from bundle.text import TextEncoder

# Measured on two cores: beyond about 32 short sentences a larger padded batch is slower, not faster.
TOKEN_BUDGET = 1024


class Embedder:
    """A tokenizer and an encoder put together; `embed` sorts by length so that little is padded."""

    def __init__(self, text_encoder: TextEncoder, encoder: Encoder) -> None:
        self._text_encoder = text_encoder
        self._encoder = encoder

    @classmethod
    def from_bundle(cls, bundle: Bundle, *, precision: Precision | None = None, threads: int = 1) -> "Embedder":
        """Open what `bundle` holds."""
        return cls(TextEncoder.from_bundle(bundle), open_encoder(bundle, precision=precision, threads=threads))

    def embed(self, texts: Sequence[str], *, prompt_name: str | None = None) -> Vectors:
        """Embed n texts as float32[n, dim], in their order; long ones are truncated."""
        encoded = self._text_encoder.encode(texts, prompt_name=prompt_name)
        order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
        vectors = np.empty((len(encoded), self._encoder.dimension), dtype=np.float32)
        for start, end in pairwise(self._batch_borders([len(encoded[i]) for i in order])):
            rows = order[start:end]
            vectors[rows] = self._encoder.encode(*flatten([encoded[i] for i in rows]))
        return vectors

    def _batch_borders(self, sorted_lengths: list[int]) -> list[int]:
        borders = [0]
        for i in range(1, len(sorted_lengths)):
            if self._encoder.cost(sorted_lengths[borders[-1] : i + 1]) > TOKEN_BUDGET:
                borders.append(i)
        return [*borders, len(sorted_lengths)]
