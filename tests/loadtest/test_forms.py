from typing import get_args

import pytest

from loadtest.forms import Dtype, Encoding, Form, parse_form
from loadtest.routes import ROUTES


@pytest.mark.parametrize("dtype", get_args(Dtype))
@pytest.mark.parametrize("encoding", get_args(Encoding))
def test_every_form_can_be_written(dtype: Dtype, encoding: Encoding) -> None:
    assert parse_form(f"{dtype}/{encoding}") == Form(dtype, encoding)


@pytest.mark.parametrize("text", ["", "int8", "int8/", "/json", "int4/json", "int8/xml", "int8/json/json"])
def test_what_is_no_form_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is not a form of answer; write one of float32, float16") as caught:
        parse_form(text)
    assert repr(text) in str(caught.value)


def test_nothing_is_asked_for_unless_wanted() -> None:
    assert Form().fields == {}
    assert Form().accept == "application/json"
    assert Form("int8", "bytes").fields == {"output_dtype": "int8"}
    assert Form("int8", "bytes").accept == "application/octet-stream"
    assert Form("float16", "json").fields == {"output_dtype": "float16", "encoding_format": "float"}


@pytest.mark.parametrize(
    ("form", "body", "right"),
    [
        ("float32/base64", b'["AACAPw==","AACAPw=="]', True),
        ("float32/base64", b'["AACAPw=="]', False),
        ("float32/base64", b"[[1],[2]]", False),
        ("float32/bytes", bytes(16), True),
        ("float32/bytes", bytes(12), False),
        ("float32/bytes", b"", False),
        ("int8/bytes", bytes(6), True),
        ("int8/bytes", bytes(7), False),
        ("int8/json", b"[[1,2],[3,4]]", True),
    ],
)
def test_answers_are_judged_by_their_form(form: str, body: bytes, right: bool) -> None:
    assert ROUTES["embed"].is_answer(body, 2, parse_form(form)) == right
