"""What OpenAI's routes take and answer."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from server.schemas.fields import Dimensions, EncodingFormat, Inputs, ModelName, OutputDtype, Priority, TimeoutMs


class OpenAIRequest(Struct, frozen=True):
    """What OpenAI's clients send."""

    input: Inputs
    model: ModelName = None
    encoding_format: EncodingFormat = "float"
    dimensions: Dimensions = None
    output_dtype: OutputDtype = "float32"
    user: Annotated[str | None, Meta(description="Accepted and ignored.")] = None
    timeout_ms: TimeoutMs = None
    priority: Priority = None


class OpenAIEmbedding(Struct, frozen=True):
    """One vector, as numbers or as base64 of its little-endian bytes."""

    object: Literal["embedding"]
    embedding: list[float] | str
    index: int


class Usage(Struct, frozen=True):
    """How many tokens were embedded."""

    prompt_tokens: int
    total_tokens: int


class OpenAIResponse(Struct, frozen=True):
    """What OpenAI's clients expect."""

    object: Literal["list"]
    data: list[OpenAIEmbedding]
    model: str
    usage: Usage


class ServedModel(Struct, frozen=True):
    """A model by OpenAI's description."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class Models(Struct, frozen=True):
    """What OpenAI's clients expect of a list of models."""

    object: Literal["list"]
    data: list[ServedModel]


class OpenAIError(Struct, frozen=True):
    """OpenAI's description of an error."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIErrorBody(Struct, frozen=True):
    """What OpenAI's route answers when something is wrong."""

    error: OpenAIError
