import asyncio
import base64
import json
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from loadtest.checking import MOST_REFERENCES, MOST_TEXTS_PER_ANSWER, WRONG, CheckedRequest, with_references
from loadtest.forms import ANY_FORM, Form, parse_form
from loadtest.measurement import OK
from loadtest.request import INVALID, Request
from loadtest.routes import ROUTES, RouteName

GENERATOR = np.random.default_rng(0)
VECTORS: NDArray[np.float32] = GENERATOR.normal(size=(4, 16)).astype(np.float32)


def request_for(texts: Sequence[str], route: RouteName = "embed", form: Form = ANY_FORM) -> Request:
    return Request(b"", texts, ROUTES[route], form)


def checked(requests: Sequence[Request], *, every: int = 1) -> list[Request]:
    async def embed_alone(_request: Request, text: str) -> NDArray[np.float32]:
        vector: NDArray[np.float32] = VECTORS[int(text) % 4] * 3  # a vector's length does not matter
        return vector

    return asyncio.run(with_references(requests, embed_alone, every=every))[0]


def answer(vectors: NDArray[np.float32], route: RouteName, form: Form) -> bytes:
    numbers = vectors.astype(form.item)
    if form.encoding == "bytes":
        return numbers.tobytes()
    rows = [base64.b64encode(row.tobytes()).decode() for row in numbers]
    if route == "openai":
        floats = form.encoding == "json"
        data = [
            {"embedding": row.tolist() if floats else packed, "index": index}
            for index, (row, packed) in enumerate(zip(numbers, rows, strict=True))
        ]
        return json.dumps({"data": data}).encode()
    return json.dumps(rows if form.encoding == "base64" else numbers.tolist(), separators=(",", ":")).encode()


FORMS = [
    ("embed", ANY_FORM),
    *(("embed", parse_form(f"float{bits}/{way}")) for bits in (32, 16) for way in ("json", "base64", "bytes")),
    ("openai", ANY_FORM),
    ("openai", parse_form("float16/base64")),
    ("openai", parse_form("float32/json")),
]


@pytest.mark.parametrize(("route", "form"), FORMS, ids=str)
def test_right_vectors_pass_and_any_wrong_one_is_noticed(route: RouteName, form: Form) -> None:
    (request,) = checked([request_for(["0", "1", "2"], route, form)])
    assert request.judge(answer(VECTORS[:3], route, form)) == OK
    assert request.judge(answer(VECTORS[[0, 2, 1]], route, form)) == WRONG  # the right ones, at the wrong places
    nearly = VECTORS[:3].copy()
    nearly[2] += 0.1 * GENERATOR.normal(size=16)
    assert request.judge(answer(nearly, route, form)) == WRONG
    assert request.judge(answer(np.zeros((3, 16), np.float32), route, form)) == WRONG
    assert request.judge(answer(VECTORS[:3, :8], route, form)) == WRONG  # fewer dimensions


def test_answers_that_are_no_vectors_are_invalid() -> None:
    (request,) = checked([request_for(["0", "1"])])
    assert request.judge(b"[[1,2],[3]]") == INVALID
    assert request.judge(b'[["x"],["y"]]') == INVALID
    assert request.judge(b"[[1,2]]") == INVALID


def test_nothing_is_right_about_nan() -> None:
    (request,) = checked([request_for(["0"], form=parse_form("float32/bytes"))])
    assert request.judge(np.full(16, np.nan, np.float32).tobytes()) == WRONG
    assert request.judge(np.full(16, np.inf, np.float32).tobytes()) == WRONG


def test_every_nth_request_with_vectors_of_floats_is_checked() -> None:
    requests = [
        request_for(["0"]),
        request_for(["0", "1"], "similarity"),
        request_for(["0"], form=Form("int8", "json")),
    ]
    found = [isinstance(request, CheckedRequest) for request in checked(requests * 4, every=2)]
    assert found == [True, False, False, False, False, False] * 2


def test_references_are_few_and_the_share_of_checked_requests_stays() -> None:
    texts = [str(number) for number in range(100)]
    requests = checked([request_for(texts)] * 1_000, every=3)
    compared = [request for request in requests if isinstance(request, CheckedRequest)]
    assert {len(request.rows) for request in compared} == {MOST_TEXTS_PER_ANSWER}
    assert {request.rows[0] for request in compared} | {request.rows[-1] for request in compared} == {0, 99}
    assert len(compared) == MOST_REFERENCES // MOST_TEXTS_PER_ANSWER
    assert len(requests) == 3 * len(compared)
