"""Every setting of the server, declared once: flag, environment variable, default and help text. Serves nothing."""

import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, FilePath, HttpUrl, PositiveFloat, PositiveInt, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, CliSuppress, NoDecode, SettingsConfigDict

from bundle.manifest import Precision, Runtime
from bundle.provenance import available_cores

SHIPPED_STUDENT = Path(__file__).resolve().parents[1] / "students" / "disco-minilm-l3"


def _standard_endpoint() -> str | None:
    return os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or None


class ServerSettings(BaseSettings):
    """Serve a bundle over HTTP. Each flag is also an environment variable: --log-level is DISCO_LOG_LEVEL."""

    model_config = SettingsConfigDict(
        env_prefix="DISCO_",
        cli_prog_name="python -m server",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
    )

    bundle: Annotated[list[str], NoDecode] = Field(
        [str(SHIPPED_STUDENT)],
        min_length=1,
        description="folder of a bundle to serve, or NAME=FOLDER; repeatable (in the environment: with commas), the "
        "first one is served by default",
    )
    precision: Precision | None = Field(
        None, description="which of the bundle's graphs to run; unset: the one the bundle prefers"
    )
    runtime: Runtime | None = Field(
        None,
        description="engine that runs it; unset: what was measured to be fastest at export, else native where "
        "that is faster, else onnxruntime",
    )
    served_model_name: str | None = Field(None, description="name in answers; unset: the bundle's own")

    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 for every interface")
    port: int = Field(8080, ge=0, le=65535, description="port to listen on")
    tls_certificate: FilePath | None = Field(
        None, description="PEM file with the certificate and those that vouch for it; unset: plain HTTP"
    )
    tls_key: FilePath | None = Field(None, description="PEM file with its private key; unset: it is in the same file")
    # Not for the command line, which every user of the machine can read.
    tls_key_password: CliSuppress[SecretStr | None] = Field(
        None, description="of an encrypted key; only by DISCO_TLS_KEY_PASSWORD"
    )
    api_keys: Path | None = Field(
        None, description="file with one API key a line, read anew when it changes; unset: nobody needs a key"
    )
    rate_limit: PositiveFloat | None = Field(
        None, description="texts per second that each API key may embed; more is a 429; unset: no limit"
    )
    protect_operations: bool = Field(False, description="/metrics, /docs and /openapi.json need a key too")
    payload_limit: PositiveInt = Field(2_000_000, description="largest accepted body in bytes; more is a 413")
    max_body_bytes: PositiveInt = Field(
        256_000_000, description="most bytes of bodies held at once, of all requests being answered; more is a 429"
    )
    max_client_batch_size: PositiveInt = Field(512, description="most texts in one request; more is a 422")
    auto_truncate: bool = Field(True, description="cut texts that are too long, unless the request says otherwise")
    read_timeout: PositiveFloat = Field(
        10.0, description="seconds that a client has to send a request's head, and again for its body (408)"
    )
    keep_alive_seconds: PositiveInt = Field(
        75, description="seconds that a connection stays open without a request: longer than those in front keep theirs"
    )
    max_connections: PositiveInt = Field(1024, description="most open connections; requests over others get a 503")
    request_timeout: PositiveFloat = Field(30.0, description="seconds after which unfinished work is given up (504)")

    workers: PositiveInt = Field(
        default_factory=available_cores, description="engines, each with one compute thread; default: all cores"
    )
    front_ends: PositiveInt = Field(
        1,
        description="processes that answer HTTP, each with its share of connections, engines, queue and cache: more "
        "for many clients with short texts",
    )
    isolate_engines: bool = Field(
        True, description="run each engine in a process of its own: one that crashes or hangs is replaced"
    )
    tokenizer_threads: PositiveInt = Field(2, description="threads that turn texts into tokens")
    max_batch_tokens: PositiveInt = Field(1024, description="most tokens of one batch, padding included")
    max_batch_items: PositiveInt = Field(64, description="most texts of one batch")
    max_bulk_batch_tokens: PositiveInt = Field(
        256, description="the same for bulk work while interactive requests come in, which wait for what has begun"
    )
    bulk_texts: PositiveInt = Field(
        32, description="requests of more texts are bulk, after interactive ones, unless they say otherwise"
    )
    cache_bytes: int = Field(
        33_554_432, ge=0, description="memory for vectors of texts that came before; 0: none are kept"
    )
    look_ahead: PositiveInt = Field(256, description="how many waiting texts are searched for ones of similar length")
    max_queue_items: PositiveInt = Field(4096, description="most texts waiting; beyond it requests get a 429")
    max_queue_tokens: PositiveInt = Field(262_144, description="most tokens waiting; beyond it requests get a 429")
    max_queue_seconds: PositiveFloat = Field(
        5.0, description="longest that the interactive texts which wait may take; beyond it all requests get a 429"
    )

    shadow_bundle: Path | None = Field(
        None, description="a teacher's bundle that embeds a sample of the default model's texts too, to compare both"
    )
    shadow_share: float = Field(
        0.01, gt=0, le=1, description="share of requests of which one text is compared with the teacher in the shadow"
    )

    linger_seconds: float = Field(
        0.5, ge=0, description="seconds between SIGTERM (/ready says 503) and refusing new connections"
    )
    drain_seconds: PositiveInt = Field(30, description="seconds that accepted requests have to finish after SIGTERM")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level that is logged")
    json_logs: bool = Field(False, description="log one JSON object a line")
    otlp_endpoint: HttpUrl | None = Field(
        default_factory=_standard_endpoint,
        validate_default=True,
        description="OpenTelemetry collector that traces are sent to, as http://127.0.0.1:4318; unset: "
        "OTEL_EXPORTER_OTLP_ENDPOINT, or no traces",
    )

    @field_validator("bundle", mode="before")
    @classmethod
    def _split_at_commas(cls, value: object) -> object:
        return value.split(",") if isinstance(value, str) else value

    @property
    def bundles(self) -> list[tuple[str | None, Path]]:
        """What is to be served, by name where one is given."""
        split = [entry.partition("=") for entry in self.bundle]
        return [(name, Path(path)) if separator else (None, Path(name)) for name, separator, path in split]

    def share_of(self, whole: int) -> int:
        """One front end's part, rounded up, of what all of them may have."""
        return -(-whole // self.front_ends)

    @model_validator(mode="after")
    def _names_are_for_several(self) -> Self:
        if self.served_model_name and len(self.bundle) > 1:
            raise ValueError("served_model_name is for a single bundle: write --bundle NAME=FOLDER for each of several")
        return self

    @model_validator(mode="after")
    def _rates_are_for_keys(self) -> Self:
        if self.rate_limit is not None and self.api_keys is None:
            raise ValueError("rate_limit is for each API key, and there are none: set api_keys too")
        return self

    @model_validator(mode="after")
    def _a_key_belongs_to_a_certificate(self) -> Self:
        if self.tls_certificate is None and (self.tls_key or self.tls_key_password):
            raise ValueError("tls_key is of no use without tls_certificate: set both, or none for plain HTTP")
        return self

    @model_validator(mode="after")
    def _largest_request_fits(self) -> Self:
        if self.share_of(self.max_queue_items) < self.max_client_batch_size:
            share = f" among front_ends={self.front_ends}" if self.front_ends > 1 else ""
            raise ValueError(
                f"max_queue_items={self.max_queue_items}{share} is below "
                f"max_client_batch_size={self.max_client_batch_size}: "
                "the largest allowed request could never be accepted; raise the one or lower the other"
            )
        return self

    @model_validator(mode="after")
    def _front_ends_have_as_many_workers(self) -> Self:
        if self.workers % self.front_ends:  # connections are shared out evenly, so engines have to be as well
            raise ValueError(
                f"workers={self.workers} cannot be shared evenly among front_ends={self.front_ends}: make it a multiple"
            )
        return self

    @model_validator(mode="after")
    def _rates_are_counted_in_one_place(self) -> Self:
        if self.rate_limit is not None and self.front_ends > 1:
            raise ValueError(
                f"rate_limit counts in one process, and front_ends={self.front_ends} would each count for themselves: "
                "leave one of them out"
            )
        return self
