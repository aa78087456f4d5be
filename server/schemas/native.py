"""What the native routes take and answer, in the shapes of Text Embeddings Inference; unknown fields are ignored, as
there.
"""

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from server.schemas.fields import (
    AT_LEAST_ONE,
    NOT_EMPTY,
    Dimensions,
    EncodingFormat,
    Inputs,
    ModelName,
    OutputDtype,
    Priority,
    PromptName,
    Side,
    TimeoutMs,
    Truncate,
)


class EmbedRequest(Struct, frozen=True):
    """Texts to embed."""

    inputs: Inputs
    truncate: Truncate = None
    truncation_direction: Side = "right"
    prompt_name: PromptName = None
    normalize: Annotated[bool, Meta(description="Scale vectors to length 1; false: as the model gives them.")] = True
    dimensions: Dimensions = None
    output_dtype: OutputDtype = "float32"
    encoding_format: EncodingFormat = "float"
    model: ModelName = None
    timeout_ms: TimeoutMs = None
    priority: Priority = None


Embeddings: TypeAlias = list[list[float] | str]
"""One vector per text, in order: numbers, or base64 where that was asked for."""


class EmbedAllRequest(Struct, frozen=True):
    """Texts whose tokens to embed."""

    inputs: Inputs
    truncate: Truncate = None
    truncation_direction: Side = "right"
    prompt_name: PromptName = None
    model: ModelName = None
    timeout_ms: TimeoutMs = None
    priority: Priority = None


TokenEmbeddings: TypeAlias = list[list[list[float]]]
"""For each text, in order, one vector per token, those of special tokens included, as the model gives them."""


class SimilarityInputs(Struct, frozen=True):
    """What is compared: one text with others, the two texts of each pair, or every query with every document."""

    source_sentence: str | None = None
    sentences: list[str] | None = None
    pairs: list[tuple[str, str]] | None = None
    queries: list[str] | None = None
    documents: list[str] | None = None


class SimilarityParameters(Struct, frozen=True):
    """How the texts are read."""

    truncate: Truncate = None
    truncation_direction: Side = "right"
    prompt_name: PromptName = None


class SimilarityRequest(Struct, frozen=True):
    """Texts to compare."""

    inputs: SimilarityInputs
    parameters: SimilarityParameters | None = None
    top_k: Annotated[
        int | None,
        Meta(
            description="Answer only so many of the best, best first; null: all.",
            extra_json_schema=AT_LEAST_ONE,
        ),
    ] = None
    model: ModelName = None
    timeout_ms: TimeoutMs = None
    priority: Priority = None


class Match(Struct, frozen=True):
    """One of the best, by its place in the list that was sent."""

    index: int
    score: float


Similarities: TypeAlias = list[float] | list[list[float]] | list[Match] | list[list[Match]]
"""Cosines in the order of what was sent, a list per query where there are several; with `top_k` the best matches."""


class TokenizeRequest(Struct, frozen=True):
    """Texts to tokenise."""

    inputs: Annotated[str | list[str], Meta(extra_json_schema=NOT_EMPTY)]
    add_special_tokens: bool = True
    prompt_name: PromptName = None
    model: ModelName = None


class DecodeRequest(Struct, frozen=True):
    """Token ids of one text, or of several."""

    ids: Annotated[list[int | list[int]], Meta(extra_json_schema=NOT_EMPTY)]
    skip_special_tokens: bool = True
    model: ModelName = None


class TokenBody(Struct, frozen=True):
    """One token; `start` and `stop` are character positions in the prompt and text, null for special tokens."""

    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None


class ErrorBody(Struct, frozen=True):
    """What native routes answer when something is wrong."""

    error: str
    error_type: str
