import json
from typing import Any

import pytest

from loadtest.routes import ROUTES, RouteName


def encode(route: RouteName, texts: list[str]) -> Any:
    return json.loads(ROUTES[route].encode(texts, "m"))


def test_bodies() -> None:
    assert encode("embed", ["a"]) == {"inputs": "a"}
    assert encode("embed", ["a", 'b"']) == {"inputs": ["a", 'b"']}
    assert encode("similarity", ["a", "b", "c"]) == {"inputs": {"source_sentence": "a", "sentences": ["b", "c"]}}
    assert encode("openai", ["a"]) == {"input": ["a"], "model": "m", "encoding_format": "base64"}


def test_similarity_carries_its_source_sentence_besides() -> None:
    assert {name: route.texts(3) for name, route in ROUTES.items()} == {"embed": 3, "similarity": 4, "openai": 3}


OPENAI = b'{"object": "list", "data": [{"embedding": "AnullNaN", "index": 0}, {"embedding": "A", "index": 1}]}'


@pytest.mark.parametrize(
    ("route", "texts", "body"),
    [
        ("embed", 1, b"[[0.1, 2]]"),
        ("embed", 2, b"[[0.1,2],\n[1,2]]\n"),
        ("similarity", 2, b"[0.5]"),
        ("similarity", 3, b"[0.5, 1]\n"),
        ("openai", 2, OPENAI),
    ],
)
def test_right_answers_are_accepted(route: RouteName, texts: int, body: bytes) -> None:
    assert ROUTES[route].is_answer(body, texts)


@pytest.mark.parametrize(
    ("route", "texts", "body"),
    [
        ("embed", 1, b""),
        ("embed", 1, b"[[0.1,2],[1,2]]"),
        ("embed", 2, b"[[0.1,2]]"),
        ("embed", 1, b"[[0.1,2"),
        ("embed", 1, b"[[null]]"),
        ("embed", 1, b"[[NaN]]"),
        ("embed", 1, b'{"error": "[[]]"}'),
        ("similarity", 2, b"[0.5,1]"),
        ("similarity", 3, b"[0.5]"),
        ("similarity", 2, b"[]"),
        ("similarity", 2, b"[null]"),
        ("openai", 1, OPENAI),
        ("openai", 2, OPENAI[:-1]),
        ("openai", 1, b'{"error": {}}'),
    ],
)
def test_wrong_answers_are_noticed(route: RouteName, texts: int, body: bytes) -> None:
    assert not ROUTES[route].is_answer(body, texts)
