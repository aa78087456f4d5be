"""How good vectors are: Spearman, agreement with a reference, retrieval. Owns the measures; knows no files."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from bundle.arrays import Vectors, normalize

Encode: TypeAlias = Callable[[Sequence[str]], Vectors]
"""Anything that embeds: n texts → float32[n, dim]."""


class Agreement(msgspec.Struct, frozen=True):
    """Cosines between two models' vectors of the same texts."""

    texts: int
    mean: float
    first_percentile: float
    worst: float


def cosine(left: Vectors, right: Vectors) -> NDArray[np.float32]:
    """Row by row cosine of two float32[n, dim] arrays: float32[n]."""
    similarities: NDArray[np.float32] = np.einsum("nd,nd->n", normalize(left), normalize(right))
    return similarities


def agreement(vectors: Vectors, reference: Vectors) -> Agreement:
    """Compare `vectors` with `reference`, both float32[n, dim], n ≥ 1."""
    similarities = cosine(vectors, reference)
    return Agreement(
        texts=len(similarities),
        mean=float(similarities.mean()),
        first_percentile=float(np.percentile(similarities, 1)),
        worst=float(similarities.min()),
    )


def spearman(left: ArrayLike, right: ArrayLike) -> float:
    """Spearman's rank correlation of two equally long sequences; ties share their mean rank.

    NaN when one of them is constant or holds a NaN, as the correlation is then undefined.
    """
    left, right = np.asarray(left, dtype=np.float64), np.asarray(right, dtype=np.float64)
    left_ranks, right_ranks = _ranks(left), _ranks(right)
    if np.isnan([left, right]).any() or np.ptp(left_ranks) == 0 or np.ptp(right_ranks) == 0:
        return float("nan")
    return float(np.corrcoef(left_ranks, right_ranks)[0, 1])


def ndcg_at_10(queries: Vectors, passages: Vectors) -> float:
    """Mean nDCG@10 in [0, 1] where passage i is the one relevant answer to query i.

    With one relevant passage the ideal gain is 1, so a query scores 1 / log2(1 + rank), or 0 below rank 10.
    Among equal (or undefined) similarities the relevant passage counts as last: a constant model earns nothing.
    """
    queries, passages = normalize(queries), normalize(passages)
    gains = np.zeros(len(queries))
    for start in range(0, len(queries), 1024):  # bounded memory: 1024 × n similarities at a time
        similarities = queries[start : start + 1024] @ passages.T
        own = similarities[np.arange(len(similarities)), np.arange(start, start + len(similarities))]
        ranks = len(passages) - (similarities < own[:, None]).sum(axis=1)
        gains[start : start + len(ranks)] = np.where(ranks <= 10, 1 / np.log2(1 + ranks), 0)
    return float(gains.mean())


def neighbours_kept(vectors: Vectors, reference: Vectors, *, neighbours: int = 10) -> float:
    """Share, in [0, 1], of each text's nearest neighbours by `reference` that are among those by `vectors`.

    Both float32[n, ·] of the same n texts, compared by cosine; a text is not its own neighbour. With fewer than
    `neighbours` + 1 texts all others are neighbours, and nothing can be lost.
    """
    vectors, reference = normalize(vectors), normalize(reference)
    kept = 0
    count = min(neighbours, len(vectors) - 1)
    for start in range(0, len(vectors), 1024):  # bounded memory: 1024 × n similarities at a time
        rows = np.arange(start, min(start + 1024, len(vectors)))
        nearest = [_nearest(unit[rows] @ unit.T, rows, count) for unit in (vectors, reference)]
        kept += sum(len(np.intersect1d(left, right)) for left, right in zip(*nearest, strict=True))
    return kept / (len(vectors) * count)


def _nearest(similarities: Vectors, own: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    similarities[np.arange(len(own)), own] = -np.inf
    nearest: NDArray[np.int64] = np.argsort(-similarities, axis=1, kind="stable")[:, :count]
    return nearest


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean_ranks: NDArray[np.float64] = (last - (counts - 1) / 2)[inverse]
    return mean_ranks
