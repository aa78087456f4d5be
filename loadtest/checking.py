"""Whether vectors under load are those that the same texts get alone. Knows no load."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadtest.measurement import OK
from loadtest.request import INVALID, Request

WRONG = "wrong vectors"
LEAST_COSINE = 0.999
MOST_TEXTS_PER_ANSWER = 8
MOST_REFERENCES = 200
"""Texts that are sent alone, one after the other, before the load: a second or so of them."""


@dataclass
class Check:
    """How many answers were compared."""

    answers: int = 0


@dataclass(frozen=True, kw_only=True)
class CheckedRequest(Request):
    """A request some of whose vectors are known."""

    rows: Sequence[int]
    """Places of the compared texts among the request's."""
    references: NDArray[np.float32]
    """float32[rows, dim]: their vectors, each of length 1."""
    check: Check = field(compare=False)

    def judge(self, body: bytes) -> str:
        """As any request, and `WRONG` where a vector points elsewhere."""
        outcome = super().judge(body)
        if outcome != OK:
            return outcome
        try:
            vectors = decode(self, body)
        except ValueError:
            return INVALID
        self.check.answers += 1
        return OK if _agree(vectors, self.references, self.rows) else WRONG


def is_checkable(request: Request) -> bool:
    """Whether its answer is vectors of the model's own numbers, which cosines compare without further ado."""
    return request.route.decode is not None and request.form.is_floating


def decode(request: Request, body: bytes) -> NDArray[np.float32]:
    """The vectors of an answer, float32[texts, dim].

    Raises:
        ValueError: the answer does not hold so many vectors of one length.
    """
    assert request.route.decode is not None
    try:
        vectors = request.route.decode(body, len(request.texts), request.form)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error
    if vectors.ndim != 2 or len(vectors) != len(request.texts):
        raise ValueError(f"{len(vectors)} vectors for {len(request.texts)} texts")
    return vectors


async def with_references(
    requests: Sequence[Request], embed_alone: Callable[[Request, str], Awaitable[NDArray[np.float32]]], *, every: int
) -> tuple[list[Request], Check]:
    """Turn the first of every `every` requests with vectors into one that is checked.

    `embed_alone` gives the vector, float32[dim], of a text that is sent by itself to that request's route. Where the
    references would become too many, the requests end before.
    """
    check = Check()
    result: list[Request] = []
    checkable = texts = 0
    for request in requests:
        checked = is_checkable(request) and checkable % every == 0
        checkable += is_checkable(request)
        if not checked:
            result.append(request)
            continue
        rows = _spread(len(request.texts))
        if texts and texts + len(rows) > MOST_REFERENCES:
            break
        texts += len(rows)
        references = _unit(np.stack([await embed_alone(request, request.texts[row]) for row in rows]))
        result.append(
            CheckedRequest(
                request.wire, request.texts, request.route, request.form, rows=rows, references=references, check=check
            )
        )
    return result, check


def _spread(number: int) -> list[int]:
    """Places from the first to the last of so many, no more than are compared."""
    return sorted({round(place) for place in np.linspace(0, number - 1, min(number, MOST_TEXTS_PER_ANSWER))})


def _agree(vectors: NDArray[np.float32], references: NDArray[np.float32], rows: Sequence[int]) -> bool:
    if vectors.shape[1] != references.shape[1]:
        return False
    # A vector of zeros, and one with a NaN, gives a cosine that exceeds nothing.
    return bool(((_unit(vectors[rows]) * references).sum(axis=1) > LEAST_COSINE).all())


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    with np.errstate(all="ignore"):  # garbage may hold infinities
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.where(lengths > 0, lengths, 1), dtype=np.float32)
