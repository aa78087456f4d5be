"""The routes that can be loaded: what each is sent and how its answer looks. Knows no networking.

Answers are checked by counting a few bytes rather than by parsing: on a small machine the generator must leave the
processor to the server.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadtest.forms import ANY_FORM, Form, rows_of_base64, rows_of_bytes, rows_of_json

RouteName: TypeAlias = Literal["embed", "similarity", "openai"]


class _Encode(Protocol):
    def __call__(self, texts: Sequence[str], model: str, form: Form = ANY_FORM) -> bytes: ...


class _IsAnswer(Protocol):
    def __call__(self, body: bytes, texts: int, form: Form = ANY_FORM) -> bool: ...


@dataclass(frozen=True)
class Route:
    """One route of the server under test."""

    path: str
    texts: Callable[[int], int]
    """Given --texts-per-request, how many texts a request carries."""
    encode: _Encode
    """Texts and the model's name → the request's body."""
    is_answer: _IsAnswer
    """Whether a body can be the answer to that many texts."""
    decode: Callable[[bytes, int, Form], NDArray[np.float32]] | None
    """An answer to that many texts → float32[texts, dim], or an error of numpy's or msgspec's; None: has no vectors."""
    encodings: tuple[str, ...] = ()
    """The forms' encodings that it knows."""


def _encode_embed(texts: Sequence[str], model: str, form: Form = ANY_FORM) -> bytes:  # noqa: ARG001  as all routes
    return msgspec.json.encode({"inputs": texts[0] if len(texts) == 1 else texts, **form.fields})


def _encode_similarity(texts: Sequence[str], model: str, form: Form = ANY_FORM) -> bytes:  # noqa: ARG001  as all routes
    source, *sentences = texts
    return msgspec.json.encode({"inputs": {"source_sentence": source, "sentences": sentences}})


def _encode_openai(texts: Sequence[str], model: str, form: Form = ANY_FORM) -> bytes:
    # The official clients ask for base64 unless told otherwise, so that is the load worth measuring.
    return msgspec.json.encode({"input": texts, "model": model, "encoding_format": "base64", **form.fields})


def _is_embed_answer(body: bytes, texts: int, form: Form = ANY_FORM) -> bool:
    if form.encoding == "bytes":
        return len(body) > 0 and len(body) % (texts * form.item.itemsize) == 0
    if form.encoding == "base64":
        return body.startswith(b'["') and body.rstrip().endswith(b'"]') and body.count(b'"') == 2 * texts
    return (
        body.startswith(b"[[") and body.rstrip().endswith(b"]]") and body.count(b"[") == texts + 1 and _is_finite(body)
    )


def _is_similarity_answer(body: bytes, texts: int, form: Form = ANY_FORM) -> bool:  # noqa: ARG001  as all routes
    sentences = texts - 1
    return (
        body.startswith(b"[")
        and body.rstrip().endswith(b"]")
        and body.count(b",") == sentences - 1
        and len(body) > len(b"[]")
        and _is_finite(body)
    )


def _is_openai_answer(body: bytes, texts: int, form: Form = ANY_FORM) -> bool:  # noqa: ARG001  as all routes
    return body.startswith(b"{") and body.rstrip().endswith(b"}") and body.count(b'"index"') == texts


def _is_finite(body: bytes) -> bool:
    # What servers write for numbers that are none.
    return b"null" not in body and b"NaN" not in body


def _decode_embed(body: bytes, texts: int, form: Form) -> NDArray[np.float32]:
    if form.encoding == "bytes":
        return rows_of_bytes(body, form, texts)
    rows = msgspec.json.decode(body)
    return rows_of_base64(rows, form) if form.encoding == "base64" else rows_of_json(rows)


class _Row(msgspec.Struct):
    embedding: list[float] | str


class _OpenAIAnswer(msgspec.Struct):
    data: list[_Row]


def _decode_openai(body: bytes, texts: int, form: Form) -> NDArray[np.float32]:  # noqa: ARG001  as all routes
    rows = [row.embedding for row in msgspec.json.decode(body, type=_OpenAIAnswer).data]
    return rows_of_json(rows) if form.encoding == "json" else rows_of_base64(rows, form)


ROUTES: dict[RouteName, Route] = {
    "embed": Route("/embed", lambda n: n, _encode_embed, _is_embed_answer, _decode_embed, ("json", "base64", "bytes")),
    "similarity": Route("/similarity", lambda n: n + 1, _encode_similarity, _is_similarity_answer, None),
    "openai": Route(
        "/v1/embeddings", lambda n: n, _encode_openai, _is_openai_answer, _decode_openai, ("json", "base64")
    ),
}


def parse_route(text: str) -> RouteName:
    """Read a route's name.

    Raises:
        ValueError: there is no such route; the message tells which there are.
    """
    for name in ROUTES:
        if name == text:
            return name
    raise ValueError(f"{text!r} is not a route; write one of {', '.join(ROUTES)}")
