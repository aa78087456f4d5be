"""What the OpenAPI document says beyond what Litestar reads off the handlers: headers, and answers that are bytes."""

from dataclasses import dataclass
from typing import cast

from litestar.openapi.spec import (
    OpenAPIFormat,
    OpenAPIHeader,
    OpenAPIMediaType,
    OpenAPIResponse,
    OpenAPIType,
    Operation,
    Parameter,
    Reference,
    Schema,
)

from server.exchange import NPY, RAW
from server.jobs import LANES

_URGENCY = [
    Parameter(
        name="X-Request-Timeout-Ms",
        param_in="header",
        schema=Schema(type=OpenAPIType.NUMBER, exclusive_minimum=0),
        description="Give up after so many milliseconds (504), unless the body says it.",
    ),
    Parameter(
        name="X-Request-Priority",
        param_in="header",
        schema=Schema(type=OpenAPIType.STRING, enum=list(LANES)),
        description="interactive before bulk, unless the body says it; without either by the number of texts.",
    ),
]
_TIMINGS = {
    "x-compute-type": "What computed: cpu+optimized or gpu+optimized.",
    "x-compute-time": "The same as x-total-time.",
    "x-compute-characters": "Characters of all texts.",
    "x-compute-tokens": "Tokens of all texts, special ones included.",
    "x-total-time": "Whole milliseconds from the request's arrival to its answer.",
    "x-tokenization-time": "Whole milliseconds in which texts became tokens.",
    "x-queue-time": "Whole milliseconds of waiting for an engine worker.",
    "x-inference-time": "Whole milliseconds of the model's work.",
    "server-timing": "The same times with decimals.",
}
_FORM = {
    "x-embedding-dtype": "With bytes only: the numeric type, in numpy's words.",
    "x-embedding-shape": "With bytes only: rows and columns, with a comma between them.",
}


@dataclass
class Embedding(Operation):
    """An operation that embeds: headers say how urgent it is, where its time went and when to come back."""

    def __post_init__(self) -> None:
        self.parameters = [*(self.parameters or ()), *_URGENCY]
        _answer(self, 200).headers = _headers(_TIMINGS)
        _answer(self, 429).headers = _headers({"retry-after": "In whole seconds."})


@dataclass
class EmbeddingOrBytes(Embedding):
    """The same, where `Accept` may ask for bytes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        answer = _answer(self, 200)
        answer.headers = _headers(_TIMINGS | _FORM)
        for media_type in (RAW, NPY):
            schema = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
            answer.content = {**(answer.content or {}), media_type: OpenAPIMediaType(schema)}


def _answer(operation: Operation, status: int) -> OpenAPIResponse:
    return cast("dict[str, OpenAPIResponse]", operation.responses)[str(status)]


def _headers(descriptions: dict[str, str]) -> dict[str, OpenAPIHeader | Reference]:
    return {
        name: OpenAPIHeader(Schema(type=OpenAPIType.STRING), description=description)
        for name, description in descriptions.items()
    }
