"""What operators are told."""

from typing import Annotated

from msgspec import Meta, Struct


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
    front_ends: int


class Reloaded(Struct, frozen=True):
    """What came of loading changed bundles."""

    replaced: list[str]
    bundle_versions: dict[str, str]
