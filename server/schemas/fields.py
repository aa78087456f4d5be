"""Fields that several requests have in common."""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from bundle.output_types import OutputType
from server.jobs import Lane

# Litestar documents no limits inside unions. Beside one, each keyword holds for the types that it concerns.
NOT_EMPTY = {"extra": {"min_length": 1, "min_items": 1}}
AT_LEAST_ONE = {"extra": {"minimum": 1}}
_POSITIVE = {"extra": {"exclusive_minimum": 0}}

Inputs: TypeAlias = Annotated[
    str | list[str | int | list[int]],
    Meta(
        description="One text, one text as token ids, or a list of texts, each as a string or as token ids.",
        extra_json_schema=NOT_EMPTY,
    ),
]
Truncate: TypeAlias = Annotated[
    bool | None, Meta(description="Cut texts that are too long; false refuses them; null: as the server is set up.")
]
Side: TypeAlias = Annotated[
    Literal["left", "right", "Left", "Right"], Meta(description="The side that truncation cuts from.")
]
PromptName: TypeAlias = Annotated[
    str | None, Meta(description="Which of the model's prompts to put before each text; null: its default.")
]
Dimensions: TypeAlias = Annotated[
    int | None,
    Meta(
        description="Keep only this many leading components, then normalise; null: all.",
        extra_json_schema=AT_LEAST_ONE,
    ),
]
ModelName: TypeAlias = Annotated[
    str | None,
    Meta(description="Which model; null: the first one. A server of a single model takes any name."),
]
TimeoutMs: TypeAlias = Annotated[
    Annotated[float, Meta(gt=0)] | None,
    Meta(
        description="Give up after so many milliseconds (504); null: as `X-Request-Timeout-Ms` or the server.",
        extra_json_schema=_POSITIVE,
    ),
]
Priority: TypeAlias = Annotated[
    Lane | None,
    Meta(description="interactive before bulk; null: as `X-Request-Priority` says, or by the number of texts."),
]
OutputDtype: TypeAlias = Annotated[
    OutputType,
    Meta(
        description="float16; int8 and uint8, over a range calibrated at export; binary and ubinary: the signs, eight "
        "a byte, most significant first. An index of these is 2 to 32 times smaller."
    ),
]
EncodingFormat: TypeAlias = Annotated[
    Literal["float", "base64"], Meta(description="Numbers, or base64 of each vector's little-endian bytes.")
]
