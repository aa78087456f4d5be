import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import suppress

import msgspec
import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bundle.arrays import Vectors
from server.bodies import LONGEST_STRETCH, JsonResponse, base64_rows, decode, json_list
from server.errors import InvalidRequestError, MalformedBodyError
from server.schemas import EmbedRequest


@given(arrays.arrays(np.float32, (3, 4), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_numbers_survive_json_exactly(vectors: Vectors) -> None:
    body = JsonResponse(vectors).body
    assert np.array_equal(np.array(msgspec.json.decode(body), dtype=np.float32), vectors)


@pytest.mark.parametrize("rows", [[], [1], [[1, 2], {"a": "b"}, None], np.arange(6, dtype=np.float32).reshape(3, 2)])
def test_a_list_written_row_by_row_is_the_same_json(rows: list[object]) -> None:
    body = {"before": 1, "rows": asyncio.run(json_list(rows)), "after": 2}
    expected = orjson.dumps({"before": 1, "rows": rows, "after": 2}, option=orjson.OPT_SERIALIZE_NUMPY)
    assert JsonResponse(body).body == expected


def test_others_have_their_turn_while_a_long_list_is_written() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    def rows() -> Iterator[int]:
        for row in range(4):
            time.sleep(1.1 * LONGEST_STRETCH)
            yield row

    async def main() -> None:
        others = asyncio.create_task(other())
        await json_list(rows())
        others.cancel()

    asyncio.run(main())
    assert turns >= 4


def test_base64_is_little_endian_float32() -> None:
    assert list(base64_rows(np.array([[1.0, -2.0]], dtype=np.float32))) == ["AACAPwAAAMA="]


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused_as_a_bad_body(body: bytes) -> None:
    with suppress(MalformedBodyError, InvalidRequestError):
        assert isinstance(decode(body, EmbedRequest), EmbedRequest)


@given(st.text(st.characters(codec=None), max_size=20))
def test_a_lone_surrogate_is_named_and_nothing_else_is_taken_for_one(text: str) -> None:
    body = json.dumps({"inputs": text}).encode()  # escapes everything, so surrogates stay apart
    # Two escapes that happen to form a pair are one character again, as everywhere in JSON.
    joined = json.loads(body)["inputs"]
    try:
        joined.encode()
    except UnicodeEncodeError:
        with pytest.raises(InvalidRequestError, match="lone surrogate"):
            decode(body, EmbedRequest)
    else:
        assert decode(body, EmbedRequest).inputs == joined


@pytest.mark.parametrize("text", [r"\ud800", r"\udc00", r"x\ud800y", r"\ud800\ud800", r"\\\ud800", r"\udc00\ud800"])
def test_lone_surrogates_in_every_position(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="lone surrogate"):
        decode(b'{"inputs": "%s"}' % text.encode(), EmbedRequest)


def test_an_escaped_backslash_before_u_is_no_surrogate() -> None:
    assert decode(rb'{"inputs": "\\ud800"}', EmbedRequest).inputs == r"\ud800"
