"""Bytes → request structs, vectors → bytes. Knows formats, not what is in them."""

import asyncio
import base64
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from io import BytesIO
from typing import Any, TypeVar, cast

import msgspec
import numpy as np
import orjson
from litestar import Response
from litestar.dto import AbstractDTO
from litestar.openapi.spec import Reference, Schema
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send
from litestar.typing import FieldDefinition
from numpy.typing import NDArray

from server.errors import InvalidRequestError, MalformedBodyError, UnsupportedMediaTypeError

T = TypeVar("T")

# Seconds for which one answer may keep the event loop.
LONGEST_STRETCH = 0.002

# A `\ud8xx` escape that no `\udcxx` follows, or one of the latter that no former precedes.
_LONE_SURROGATE = re.compile(
    rb"(?<!\\)(?:\\\\)*(?:\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2})"
)


class StrictJson(AbstractDTO[T]):
    """Litestar's `data`, decoded from the bytes straight into the handler's struct, with strict types.

    Litestar's own way builds dictionaries first and turns "1" into 1.
    """

    def decode_bytes(self, value: bytes) -> Any:
        """Decode a body.

        Raises:
            UnsupportedMediaTypeError: the content type is not JSON.
            MalformedBodyError: not JSON.
            InvalidRequestError: JSON, but not what the route takes.
        """
        content_type = self.asgi_connection.headers.get("content-type", "application/json")
        if "json" not in content_type.lower():
            raise UnsupportedMediaTypeError(f"content type is {content_type[:64]!r}, send application/json")
        field = self.asgi_connection.route_handler.parsed_data_field
        return decode(value, field.annotation)

    @classmethod
    def create_for_field_definition(cls, *_: Any, **__: Any) -> None:
        """Litestar would generate a transfer model here; the struct itself is decoded."""

    @classmethod
    def create_openapi_schema(
        cls,
        field_definition: FieldDefinition,
        handler_id: str,  # noqa: ARG003  part of the overridden signature
        schema_creator: Any,
    ) -> Reference | Schema:
        """Document the struct as it is."""
        schema: Reference | Schema = schema_creator.for_field_definition(field_definition)
        return schema


class BytesResponse(Response[Any]):
    """A 200 of bytes that are there already, sent as they are.

    Litestar's own answers prepare for cookies, background tasks and more, which takes a third of a request's time.
    """

    def __init__(self, body: bytes, *, media_type: str, headers: Mapping[str, str] | None = None) -> None:
        self.body = body
        self._headers = [
            (b"content-type", media_type.encode()),
            (b"content-length", str(len(body)).encode()),
            *((name.encode(), value.encode()) for name, value in (headers or {}).items()),
        ]

    def to_asgi_response(self, *_: Any, **__: Any) -> ASGIResponse:
        """What Litestar calls to send it."""
        return cast("ASGIResponse", self._send)  # all that is done with it is to call it

    async def _send(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


class JsonResponse(BytesResponse):
    """A JSON answer that may hold float32 arrays; each number is written as shortly as it can be read back exactly."""

    def __init__(self, content: object, *, headers: Mapping[str, str] | None = None) -> None:
        body = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
        super().__init__(body, media_type="application/json", headers=headers)


async def json_list(rows: Iterable[object]) -> orjson.Fragment:
    """`rows` as a JSON list, written a few at a time: others shall not wait until a long one is done."""
    parts = []
    began = time.perf_counter()
    for row in rows:
        parts.append(orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY))
        if time.perf_counter() - began > LONGEST_STRETCH:
            await asyncio.sleep(0)
            began = time.perf_counter()
    return orjson.Fragment(b"[" + b",".join(parts) + b"]")


def decode(body: bytes, model: type) -> Any:
    """Decode a JSON body; see `StrictJson.decode_bytes` for what is raised."""
    try:
        return _decoder(model).decode(body)
    except msgspec.ValidationError as error:
        raise InvalidRequestError(_capped(error)) from None  # the cause might quote the body
    except RecursionError:
        raise InvalidRequestError("the JSON is nested too deeply") from None
    except UnicodeDecodeError as error:
        raise MalformedBodyError(f"the body is not UTF-8: invalid byte at position {error.start}") from None
    except msgspec.DecodeError as error:
        if _LONE_SURROGATE.search(body):
            raise InvalidRequestError("a string is not valid Unicode: it holds a lone surrogate escape") from None
        raise MalformedBodyError(f"the body is not valid JSON: {_capped(error)}") from None


def base64_rows(vectors: NDArray[Any]) -> Iterator[str]:
    """Each row's little-endian bytes in base64."""
    return (base64.b64encode(raw_bytes(row)).decode() for row in vectors)


def raw_bytes(vectors: NDArray[Any]) -> bytes:
    """All numbers one after the other, row by row, little-endian."""
    return vectors.astype(vectors.dtype.newbyteorder("<"), copy=False).tobytes()


def npy_file(vectors: NDArray[Any]) -> bytes:
    """What `numpy.load` reads as `vectors`."""
    file = BytesIO()
    np.save(file, vectors, allow_pickle=False)
    return file.getvalue()


@cache
def _decoder(model: type) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(model)


def _capped(error: Exception) -> str:
    return str(error)[:300]
