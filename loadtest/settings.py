"""Every setting of a run, declared once: flag, environment variable, default and help text. Knows no networking."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, AnyHttpUrl, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from loadtest.arrivals import Arrivals
from loadtest.composition import Composition
from loadtest.demand import Demand, Shape, ramp, steady, step
from loadtest.forms import ANY_FORM, parse_form
from loadtest.mix import Mix, parse_mix
from loadtest.routes import ROUTES, parse_route
from loadtest.slo import parse_objective

DEFAULT_RATE = 200.0
DEFAULT_FIRST_RATE = 50.0
HIGHEST_RATE = 100_000.0
"""Requests per second; no generator in Python sends so many."""
MOST_TEXTS_PER_REQUEST = 10_000


def _parse_size(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_TEXTS_PER_REQUEST):
        raise ValueError(f"{text!r} is not a number of texts from 1 to {MOST_TEXTS_PER_REQUEST:,}")
    return int(text)


def _checked(parse: Callable[[str], object]) -> AfterValidator:
    def check(text: str) -> str:
        parse(text)  # raises ValueError, which pydantic reports beside the flag
        return text

    return AfterValidator(check)


class Settings(BaseSettings):
    """Load an embedding server over HTTP and report latency, throughput and errors.

    With --rate requests leave when they are due, however slow the answers are (open loop), and latency counts from
    that moment; with --clients each client waits for its answer before it sends again (closed loop).

    exit codes:
      0    the run is complete and every --slo holds, or the capacity was found
      1    an --slo is violated, no request succeeded, --max-errors was exceeded, or --check found wrong vectors
      2    this generator was the bottleneck: do not trust the figures
      3    nothing was measured: bad settings, unreadable corpus, or no working server at --url; or not all that was
           to be, for --max-requests ended the run
      130  interrupted; the report covers what was measured until then
    """

    model_config = SettingsConfigDict(
        env_prefix="DISCO_LOADTEST_",
        cli_prog_name="python -m loadtest",
        cli_kebab_case=True,
        cli_avoid_json=True,
        cli_hide_none_type=True,
        cli_exit_on_error=False,
        cli_implicit_flags=True,
        cli_shortcuts={"json-file": "json", "html-file": "html", "texts-per-request": "mix"},
    )

    url: AnyHttpUrl = Field(description="The server, e.g. http://127.0.0.1:8080; the route's path is appended")
    routes: Annotated[str, _checked(lambda text: parse_mix(text, parse_route))] = Field(
        "embed", description=f"What to load, of {', '.join(ROUTES)}; several with weights: embed:3,similarity:1"
    )
    forms: Annotated[str, _checked(lambda text: parse_mix(text, parse_form))] | None = Field(
        None, description="Forms of answer to ask for, with weights: float32/json:3,int8/base64:1,float16/bytes:1"
    )
    model: str = Field("disco", description="The `model` field that the openai route sends")
    api_key: SecretStr | None = Field(None, description="Sent as `Authorization: Bearer …`; best set by environment")
    rate: float | None = Field(
        None, gt=0, le=HIGHEST_RATE, description=f"Open loop: requests per second ({DEFAULT_RATE:g} without --clients)"
    )
    arrivals: Arrivals = Field("poisson", description="Open loop: how the requests are spread over time")
    shape: Shape = Field("steady", description="Open loop: the same rate throughout, or up to --rate while measuring")
    low_rate: float | None = Field(None, gt=0, description="Where a step or ramp begins (a tenth of --rate)")
    steps: int = Field(5, ge=2, le=1_000, description="Levels of --shape step, of equal length")
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
    texts_per_request: Annotated[str, _checked(lambda text: parse_mix(text, _parse_size))] = Field(
        "1", description="Texts in each request; several sizes with weights: 1:0.9,32:0.1"
    )
    corpus: Path | None = Field(None, description="Your own texts, one a line, instead of generated ones")
    lengths: Path | None = Field(
        None, description="Lengths of generated texts: lines of words and how often, e.g. `12 340`"
    )
    seed: int = Field(0, ge=0, description="Same seed, same texts and same send times")
    check: int | None = Field(
        None, ge=1, description="Compare the vectors of every so manieth answer with those of the same texts alone"
    )
    slo: list[Annotated[str, _checked(parse_objective)]] = Field(
        [], description="What must hold, repeatable: p99=20ms (also p50 … p99.9, mean, max) or errors=0.1%"
    )
    find_capacity: bool = Field(
        False, description="Search the highest rate at which every --slo holds, beginning with --rate (50)"
    )
    resolution: float = Field(0.05, ge=0.01, le=1, description="Where that search ends: 0.05 is within 5 %")
    json_file: Path | None = Field(None, description="Also write the whole report to this file")
    html_file: Path | None = Field(None, description="Also write a page with plots, for any browser, to this file")

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: AnyHttpUrl) -> AnyHttpUrl:
        if url.username or url.password:
            raise ValueError("holds a user name or password; use --api-key")
        if url.query or url.fragment:
            raise ValueError("must end with the path that the route's is appended to, without ? or #")
        return url

    @field_validator("json_file", "html_file")
    @classmethod
    def _check_file(cls, path: Path | None) -> Path | None:
        # Better now than after a long run.
        if path is not None and not path.absolute().parent.is_dir():
            raise ValueError(f"{path.absolute().parent} is not a folder")
        return path

    @model_validator(mode="after")
    def _check_load(self) -> Self:
        if self.clients is not None and self.rate is not None:
            raise ValueError("--rate and --clients exclude each other: a load is either open or closed")
        if self.rate is None and self.clients is None:
            self.rate = DEFAULT_FIRST_RATE if self.find_capacity else DEFAULT_RATE
        if self.clients is None and (due := self.demand.total) > self.max_requests:
            raise ValueError(
                f"{due:.0f} requests would be due, but --max-requests is {self.max_requests}: "
                "lower --rate or --duration, or raise it"
            )
        return self

    @model_validator(mode="after")
    def _check_shape(self) -> Self:
        if self.shape == "steady":
            if self.low_rate is not None:
                raise ValueError(f"--low-rate {self.low_rate:g} is where a step or ramp begins: add --shape")
        elif self.clients is not None:
            raise ValueError(f"--shape {self.shape} is one of rates: leave out --clients")
        elif self.low_rate is not None and self.rate is not None and self.low_rate > self.rate:
            raise ValueError(f"--low-rate {self.low_rate:g} is above --rate {self.rate:g}, which is where it leads to")
        return self

    @model_validator(mode="after")
    def _check_search(self) -> Self:
        if not self.find_capacity:
            return self
        if not self.slo:
            raise ValueError("--find-capacity needs to know what must hold: add e.g. --slo p99=20ms")
        if self.clients is not None:
            raise ValueError("--find-capacity searches a rate, which --clients have not: leave them out")
        if self.shape != "steady":
            raise ValueError(f"--find-capacity tries one steady rate after the other: leave out --shape {self.shape}")
        return self

    @model_validator(mode="after")
    def _check_texts(self) -> Self:
        if self.corpus is not None and self.lengths is not None:
            raise ValueError("--corpus and --lengths exclude each other: your own texts have their lengths")
        return self

    @model_validator(mode="after")
    def _check_forms(self) -> Self:
        routes, forms = self.composition.routes.choices, self.composition.forms.choices
        vectors = any(ROUTES[route].encodings for route in routes)
        if self.check is not None and not (vectors and any(form.is_floating for form in forms)):
            raise ValueError(
                f"--check {self.check} compares vectors of floating numbers: add embed or openai to --routes, and a "
                "float32 or float16 form to --forms if that is given"
            )
        if self.forms is None:
            return self
        if not vectors:
            raise ValueError(f"--forms {self.forms} is for vectors, of which --routes {self.routes} answers none")
        for route in routes:
            for form in forms:
                if (known := ROUTES[route].encodings) and form.encoding not in known:
                    raise ValueError(f"--forms: {route} answers {' or '.join(known)}, not {form.encoding}")
        return self

    @property
    def demand(self) -> Demand:
        """How many requests are due when, where --clients is absent."""
        assert self.rate is not None
        low = self.rate / 10 if self.low_rate is None else self.low_rate
        match self.shape:
            case "steady":
                return steady(self.rate, self.warmup + self.duration)
            case "step":
                return step(low, self.rate, steps=self.steps, warmup=self.warmup, seconds=self.duration)
            case "ramp":
                return ramp(low, self.rate, warmup=self.warmup, seconds=self.duration)

    @property
    def composition(self) -> Composition:
        """What requests are made of."""
        return Composition(
            routes=parse_mix(self.routes, parse_route),
            sizes=parse_mix(self.texts_per_request, _parse_size),
            forms=Mix([ANY_FORM], [1.0]) if self.forms is None else parse_mix(self.forms, parse_form),
        )
