"""The shape of every request and answer. OpenAPI is generated from these; they hold no behaviour.

Field names and defaults are those of Text Embeddings Inference and OpenAI; unknown fields are ignored, as there.
"""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct, field

from bundle.output_types import OutputType
from server.jobs import Lane

Inputs: TypeAlias = Annotated[
    str | list[str | int | list[int]],
    Meta(description="One text, one text as token ids, or a list of texts, each as a string or as token ids."),
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
    int | None, Meta(description="Keep only this many leading components, then normalise; null: all.")
]


ModelName: TypeAlias = Annotated[
    str | None,
    Meta(description="Which model; null: the first one. A server of a single model takes any name."),
]
TimeoutMs: TypeAlias = Annotated[
    Annotated[float, Meta(gt=0)] | None,
    Meta(description="Give up after so many milliseconds (504); null: as `X-Request-Timeout-Ms` or the server."),
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
    top_k: Annotated[int | None, Meta(description="Answer only so many of the best, best first; null: all.")] = None
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

    inputs: str | list[str]
    add_special_tokens: bool = True
    prompt_name: PromptName = None
    model: ModelName = None


class DecodeRequest(Struct, frozen=True):
    """Token ids of one text, or of several."""

    ids: list[int | list[int]]
    skip_special_tokens: bool = True
    model: ModelName = None


class TokenBody(Struct, frozen=True):
    """One token; `start` and `stop` are character positions in the prompt and text, null for special tokens."""

    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None


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


CohereType: TypeAlias = Literal["float", "int8", "uint8", "binary", "ubinary", "base64"]


class CohereRequest(Struct, frozen=True):
    """What Cohere's clients send to version 2 of its embeddings route, as far as it concerns text."""

    texts: list[str]
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


class PoolingInfo(Struct, frozen=True):
    """How token vectors become one."""

    pooling: str


class ModelType(Struct, frozen=True):
    """What kind of model is served."""

    embedding: PoolingInfo


class Info(Struct, frozen=True):
    """What is served and within which limits. Everything from `bundle_version` on is this server's own."""

    model_id: str
    model_sha: str | None
    model_dtype: str
    served_model_name: str
    model_type: ModelType
    max_concurrent_requests: int
    max_input_length: int
    max_batch_tokens: int
    max_batch_requests: int
    max_client_batch_size: int
    auto_truncate: bool
    tokenization_workers: int
    version: str
    sha: str | None
    docker_label: str | None
    bundle_version: str
    graph: str
    choice: Annotated[str, Meta(description="Why this graph and engine.")]
    cpu: str
    engine: str
    dimension: int
    prompts: list[str]
    workers: int


class Reloaded(Struct, frozen=True):
    """What came of loading changed bundles."""

    replaced: list[str]
    bundle_versions: dict[str, str]


class ErrorBody(Struct, frozen=True):
    """What native routes answer when something is wrong."""

    error: str
    error_type: str


class OpenAIError(Struct, frozen=True):
    """OpenAI's description of an error."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIErrorBody(Struct, frozen=True):
    """What OpenAI's route answers when something is wrong."""

    error: OpenAIError
