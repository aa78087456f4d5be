"""Which texts a similarity request compares, and the cosines of their vectors. Knows no route and no model."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bundle.arrays import Vectors, normalize
from bundle.errors import EmptyInputError
from server.errors import InvalidRequestError
from server.schemas import SimilarityInputs

_Scores = NDArray[np.float32]

_FORMS = "`source_sentence` and `sentences`, `pairs`, or `queries` and `documents`"


@dataclass(frozen=True)
class Comparison:
    """What is to be embedded, and what is made of the vectors."""

    texts: list[str]
    score: Callable[[Vectors], object]
    """From the texts' float32[n, dim], of any length, to the answer's body."""


def plan(inputs: SimilarityInputs, top_k: int | None) -> Comparison:
    """Read the form of a request; vectors are compared by cosine.

    Raises:
        InvalidRequestError: none of the forms, or several at once; a `top_k` that is not positive.
        EmptyInputError: a list of texts is empty.
    """
    if top_k is not None and top_k < 1:
        raise InvalidRequestError(f"`top_k` should be positive. Given: {top_k}")
    given = {name for name in inputs.__struct_fields__ if getattr(inputs, name) is not None}
    for name in sorted(given - {"source_sentence"}):
        if not getattr(inputs, name):
            raise EmptyInputError(f"`inputs.{name}` cannot be empty")
    match inputs:
        case SimilarityInputs(source_sentence=str(source), sentences=list(others)) if len(given) == 2:
            return Comparison([source, *others], lambda vectors: _answer(_cosines(vectors[:1], vectors[1:])[0], top_k))
        case SimilarityInputs(queries=list(queries), documents=list(documents)) if len(given) == 2:
            count = len(queries)
            return Comparison(
                [*queries, *documents], lambda vectors: _answer(_cosines(vectors[:count], vectors[count:]), top_k)
            )
        case SimilarityInputs(pairs=list(pairs)) if len(given) == 1 and top_k is None:
            return Comparison([text for pair in pairs for text in pair], _pairwise)
        case SimilarityInputs(pairs=list()) if len(given) == 1:
            raise InvalidRequestError("`top_k` means nothing for `pairs`: leave it out")
        case _:
            found = ", ".join(f"`{name}`" for name in sorted(given)) or "none of them"
            raise InvalidRequestError(f"`inputs` takes {_FORMS}. Given: {found}")


def _cosines(left: Vectors, right: Vectors) -> _Scores:
    """float32[n, m]."""
    scores: _Scores = normalize(left) @ normalize(right).T
    return scores


def _pairwise(vectors: Vectors) -> _Scores:
    unit = normalize(vectors)
    scores: _Scores = np.einsum("nd,nd->n", unit[0::2], unit[1::2])
    return scores


def _answer(scores: _Scores, top_k: int | None) -> object:
    """The scores as they are, or the best `top_k` of the last axis, best first and equal ones in their order."""
    if top_k is None:
        return np.ascontiguousarray(scores)
    if scores.ndim == 2:
        return [_answer(row, top_k) for row in scores]
    best = np.argsort(-scores, kind="stable")[:top_k]
    return [{"index": index, "score": scores[index]} for index in best.tolist()]  # `schemas.Match`
