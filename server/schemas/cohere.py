"""What Cohere's route takes and answers."""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct, field

from server.schemas.fields import NOT_EMPTY, Dimensions, ModelName, TimeoutMs

CohereType: TypeAlias = Literal["float", "int8", "uint8", "binary", "ubinary", "base64"]


class CohereRequest(Struct, frozen=True):
    """What Cohere's clients send to version 2 of its embeddings route, as far as it concerns text."""

    texts: Annotated[list[str], Meta(extra_json_schema=NOT_EMPTY)]
    model: ModelName = None
    input_type: Annotated[
        Literal["search_document", "search_query", "classification", "clustering"] | None,
        Meta(description="Puts the model's prompt for documents or queries before each text, where it has one."),
    ] = None
    embedding_types: Annotated[list[CohereType], Meta(min_length=1)] = field(default_factory=lambda: ["float"])
    output_dimension: Dimensions = None
    truncate: Annotated[
        Literal["NONE", "START", "END"], Meta(description="Which end of a text that is too long is cut; NONE refuses.")
    ] = "END"
    timeout_ms: TimeoutMs = None


class CohereVectors(Struct, frozen=True, omit_defaults=True, rename={"floats": "float"}):
    """The vectors in every type that was asked for."""

    floats: list[list[float]] | None = None
    int8: list[list[int]] | None = None
    uint8: list[list[int]] | None = None
    binary: list[list[int]] | None = None
    ubinary: list[list[int]] | None = None
    base64: list[str] | None = None


class CohereUnits(Struct, frozen=True):
    """What was worked on."""

    input_tokens: int


class CohereMeta(Struct, frozen=True):
    """About the answer."""

    billed_units: CohereUnits


class CohereResponse(Struct, frozen=True):
    """What Cohere's clients expect; texts are not repeated."""

    id: str
    embeddings: CohereVectors
    meta: CohereMeta
    response_type: Literal["embeddings_by_type"]


class CohereError(Struct, frozen=True):
    """What Cohere's route answers when something is wrong."""

    message: str
