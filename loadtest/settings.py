"""Every setting of a run, declared once: flag, environment variable, default and help text. Knows no networking."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, AnyHttpUrl, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from loadtest.arrivals import Arrivals
from loadtest.routes import RouteName
from loadtest.slo import parse_objective

DEFAULT_RATE = 200.0


def _checked_objective(value: str) -> str:
    parse_objective(value)  # raises ValueError, which pydantic reports beside the flag
    return value


class Settings(BaseSettings):
    """Load an embedding server over HTTP and report latency, throughput and errors.

    With --rate requests leave when they are due, however slow the answers are (open loop), and latency counts from
    that moment; with --clients each client waits for its answer before it sends again (closed loop).

    exit codes:
      0    the run is complete and every --slo holds
      1    an --slo is violated, no request succeeded, or --max-errors was exceeded
      2    this generator was the bottleneck: do not trust the figures
      3    nothing was measured: bad settings, unreadable corpus, or no working server at --url
      130  interrupted; the report covers what was measured until then
    """

    model_config = SettingsConfigDict(
        env_prefix="DISCO_LOADTEST_",
        cli_prog_name="python -m loadtest",
        cli_kebab_case=True,
        cli_avoid_json=True,
        cli_hide_none_type=True,
        cli_exit_on_error=False,
        cli_shortcuts={"json-file": "json"},
    )

    url: AnyHttpUrl = Field(description="The server, e.g. http://127.0.0.1:8080; the route's path is appended")
    route: RouteName = Field("embed", description="Which route to load")
    model: str = Field("disco", description="The `model` field that the openai route sends")
    api_key: SecretStr | None = Field(None, description="Sent as `Authorization: Bearer …`; best set by environment")
    rate: float | None = Field(
        None, gt=0, le=100_000, description=f"Open loop: requests per second ({DEFAULT_RATE:g} without --clients)"
    )
    arrivals: Arrivals = Field("poisson", description="Open loop: how the requests are spread over time")
    clients: int | None = Field(None, ge=1, le=900, description="Closed loop: this many clients instead of a rate")
    duration: float = Field(10, gt=0, le=86_400, description="Measured seconds")
    warmup: float = Field(2, ge=0, le=3_600, description="Seconds of the same load before measuring starts")
    timeout: float = Field(10, gt=0, le=600, description="Seconds after its due time at which a request has failed")
    connections: int = Field(
        256,
        ge=1,
        le=900,  # select(2), which paces the requests, cannot watch descriptors beyond 1023
        description="Open loop: at most this many connections; what is due beyond them waits, and the wait counts",
    )
    max_requests: int = Field(1_000_000, ge=1, le=10_000_000, description="Stop after this many requests")
    max_errors: int = Field(10_000, ge=0, description="Stop when more requests than this have failed")
    texts_per_request: int = Field(1, ge=1, le=10_000, description="Texts in each request")
    corpus: Path | None = Field(None, description="Your own texts, one a line, instead of generated ones")
    seed: int = Field(0, ge=0, description="Same seed, same texts and same send times")
    slo: list[Annotated[str, AfterValidator(_checked_objective)]] = Field(
        [], description="What must hold, repeatable: p99=20ms (also p50 … p99.9, mean, max) or errors=0.1%"
    )
    json_file: Path | None = Field(None, description="Also write the whole report to this file")

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: AnyHttpUrl) -> AnyHttpUrl:
        if url.username or url.password:
            raise ValueError("holds a user name or password; use --api-key")
        if url.query or url.fragment:
            raise ValueError("must end with the path that the route's is appended to, without ? or #")
        return url

    @field_validator("json_file")
    @classmethod
    def _check_json_file(cls, path: Path | None) -> Path | None:
        # Better now than after a long run.
        if path is not None and not path.absolute().parent.is_dir():
            raise ValueError(f"{path.absolute().parent} is not a folder")
        return path

    @model_validator(mode="after")
    def _check_load(self) -> Self:
        if self.clients is not None and self.rate is not None:
            raise ValueError("--rate and --clients exclude each other: a load is either open or closed")
        if self.rate is None and self.clients is None:
            self.rate = DEFAULT_RATE
        if self.rate is not None and (due := self.rate * (self.warmup + self.duration)) > self.max_requests:
            raise ValueError(
                f"{due:.0f} requests would be due, but --max-requests is {self.max_requests}: "
                "lower --rate or --duration, or raise it"
            )
        return self
