"""The forms of answer that can be asked for: type of number, and how the numbers travel. Knows no routes."""

import base64
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

Dtype: TypeAlias = Literal["float32", "float16", "int8", "uint8", "binary", "ubinary"]
Encoding: TypeAlias = Literal["json", "base64", "bytes"]

_ON_THE_WIRE: dict[Dtype, str] = {
    "float32": "<f4", "float16": "<f2", "int8": "i1", "uint8": "u1", "binary": "i1", "ubinary": "u1"
}  # fmt: skip
_ENCODING_FORMATS: dict[Encoding, str] = {"json": "float", "base64": "base64"}


@dataclass(frozen=True)
class Form:
    """How vectors are to be answered; what is None is not sent, so that the server decides."""

    dtype: Dtype | None = None
    encoding: Encoding | None = None

    def __str__(self) -> str:
        return f"{self.dtype or 'any'}/{self.encoding or 'any'}"

    @property
    def fields(self) -> dict[str, str]:
        """What is added to a request's body."""
        fields: dict[str, str] = {}
        if self.dtype is not None:
            fields["output_dtype"] = self.dtype
        if self.encoding in _ENCODING_FORMATS:
            fields["encoding_format"] = _ENCODING_FORMATS[self.encoding]
        return fields

    @property
    def accept(self) -> str:
        """The Accept header."""
        return "application/octet-stream" if self.encoding == "bytes" else "application/json"

    @property
    def is_floating(self) -> bool:
        """Whether the numbers are the model's own, but for rounding."""
        return self.dtype in (None, "float32", "float16")

    @property
    def item(self) -> np.dtype[np.generic]:
        """The type of number in base64 and bytes."""
        return np.dtype(_ON_THE_WIRE[self.dtype or "float32"])


ANY_FORM = Form()


def parse_form(text: str) -> Form:
    """Read `DTYPE/ENCODING`, e.g. `float32/json`, `int8/bytes`, `float16/base64`.

    Raises:
        ValueError: anything else; the message tells the value and what is accepted.
    """
    dtype, _, encoding = text.partition("/")
    try:
        return Form(msgspec.convert(dtype, Dtype), msgspec.convert(encoding, Encoding))
    except msgspec.ValidationError:
        raise ValueError(
            f"{text!r} is not a form of answer; write one of {', '.join(get_args(Dtype))}, "
            f"then / and one of {', '.join(get_args(Encoding))}, e.g. int8/base64"
        ) from None


def rows_of_json(rows: object) -> NDArray[np.float32]:
    """Nested lists of numbers → float32[n, dim].

    Raises:
        ValueError, msgspec.ValidationError: they are anything else.
    """
    return np.array(msgspec.convert(rows, list[list[float]]), dtype=np.float32)


def rows_of_base64(rows: object, form: Form) -> NDArray[np.float32]:
    """Strings of base64 → float32[n, dim].

    Raises:
        ValueError, msgspec.ValidationError: they are anything else.
    """
    decoded = [base64.b64decode(row, validate=True) for row in msgspec.convert(rows, list[str])]
    return rows_of_bytes(b"".join(decoded), form, len(decoded))


def rows_of_bytes(body: bytes, form: Form, rows: int) -> NDArray[np.float32]:
    """Numbers one after the other → float32[rows, dim].

    Raises:
        ValueError: the bytes do not make so many rows of one length.
    """
    return np.frombuffer(body, dtype=form.item).astype(np.float32).reshape(rows, -1)
