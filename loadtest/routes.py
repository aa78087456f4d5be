"""The routes that can be loaded: what each is sent and how its answer looks. Knows no networking.

Answers are checked by counting a few bytes rather than by parsing: on a small machine the generator must leave the
processor to the server.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import msgspec

RouteName: TypeAlias = Literal["embed", "similarity", "openai"]


@dataclass(frozen=True)
class Route:
    """One route of the server under test."""

    path: str
    texts: Callable[[int], int]
    """Given --texts-per-request, how many texts a request carries."""
    encode: Callable[[Sequence[str], str], bytes]
    """Texts and the model's name → the request's body."""
    is_answer: Callable[[bytes, int], bool]
    """Whether a body can be the answer to that many texts."""


def _encode_embed(texts: Sequence[str], _model: str) -> bytes:
    return msgspec.json.encode({"inputs": texts[0] if len(texts) == 1 else texts})


def _encode_similarity(texts: Sequence[str], _model: str) -> bytes:
    source, *sentences = texts
    return msgspec.json.encode({"inputs": {"source_sentence": source, "sentences": sentences}})


def _encode_openai(texts: Sequence[str], model: str) -> bytes:
    # The official clients ask for base64 unless told otherwise, so that is the load worth measuring.
    return msgspec.json.encode({"input": texts, "model": model, "encoding_format": "base64"})


def _is_embed_answer(body: bytes, texts: int) -> bool:
    return (
        body.startswith(b"[[") and body.rstrip().endswith(b"]]") and body.count(b"[") == texts + 1 and _is_finite(body)
    )


def _is_similarity_answer(body: bytes, texts: int) -> bool:
    sentences = texts - 1
    return (
        body.startswith(b"[")
        and body.rstrip().endswith(b"]")
        and body.count(b",") == sentences - 1
        and len(body) > len(b"[]")
        and _is_finite(body)
    )


def _is_openai_answer(body: bytes, texts: int) -> bool:
    return body.startswith(b"{") and body.rstrip().endswith(b"}") and body.count(b'"index"') == texts


def _is_finite(body: bytes) -> bool:
    # What servers write for numbers that are none.
    return b"null" not in body and b"NaN" not in body


ROUTES: dict[RouteName, Route] = {
    "embed": Route("/embed", lambda n: n, _encode_embed, _is_embed_answer),
    "similarity": Route("/similarity", lambda n: n + 1, _encode_similarity, _is_similarity_answer),
    "openai": Route("/v1/embeddings", lambda n: n, _encode_openai, _is_openai_answer),
}
