"""A server that was found to answer, ready to be loaded any number of times: settings → measurements."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle

import numpy as np
from numpy.typing import NDArray

from loadtest.arrivals import ClosedLoop, Load, spread
from loadtest.checking import Check, decode, with_references
from loadtest.client import Client, Endpoint
from loadtest.composition import Target, compose
from loadtest.corpus import MOST_TEXTS, generate_texts, read_texts
from loadtest.forms import ANY_FORM
from loadtest.lengths import read_lengths
from loadtest.measurement import Measurement
from loadtest.request import Request
from loadtest.runner import Limits, ServerError, probe, run
from loadtest.settings import Settings
from loadtest.tally import Tally


@dataclass
class Session:
    """Connections to a server, and the requests that go there in turn."""

    client: Client
    requests: list[Request]
    limits: Limits
    check: Check | None
    """How many answers' vectors were compared; None where none is."""
    tally: Tally = field(default_factory=Tally)
    """What the present run has done so far."""

    def __post_init__(self) -> None:
        self._supply = cycle(self.requests)

    async def measure(self, load: Load) -> Measurement:
        """Apply a load; the next one goes on with the requests that this one did not come to."""
        self.tally.reset()
        return await run(self.client, self._supply, load, self.limits, self.tally)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Session]:
    """Prepare the requests and see that the server answers one of each kind.

    Raises:
        CorpusError: the user's texts cannot be used.
        LengthsError: the user's histogram cannot be used.
        ServerError: there is no server to load.
    """
    target = target_of(settings)
    requests = compose(settings.composition, _texts(settings), target, seed=settings.seed)
    client = Client(Endpoint.from_url(target.url), connections=settings.clients or settings.connections)
    try:
        await _probe_each_kind(client, requests, target, timeout=settings.timeout)
        check = None
        if settings.check is not None:
            requests, check = await with_references(
                requests, partial(_embed_alone, client, target, settings.timeout), every=settings.check
            )
        yield Session(client, requests, limits_of(settings), check)
    finally:
        await client.close()


def load_of(settings: Settings) -> Load:
    """When requests are sent."""
    if settings.clients is not None:
        return ClosedLoop(settings.clients, settings.warmup + settings.duration)
    return spread(settings.demand, settings.arrivals, seed=settings.seed)


def limits_of(settings: Settings) -> Limits:
    """When a run measures and when it stops."""
    return Limits(
        warmup=settings.warmup,
        duration=settings.duration,
        timeout=settings.timeout,
        max_requests=settings.max_requests,
        max_errors=settings.max_errors,
    )


def target_of(settings: Settings) -> Target:
    """Where requests go."""
    api_key = settings.api_key.get_secret_value() if settings.api_key else None
    return Target(str(settings.url).rstrip("/"), settings.model, api_key)


def _texts(settings: Settings) -> list[str]:
    if settings.corpus is not None:
        return read_texts(settings.corpus, seed=settings.seed)
    histogram = None if settings.lengths is None else read_lengths(settings.lengths)
    return generate_texts(MOST_TEXTS, seed=settings.seed, histogram=histogram)


async def _probe_each_kind(client: Client, requests: list[Request], target: Target, *, timeout: float) -> None:
    kinds = {(request.route.path, len(request.texts), request.form): request for request in requests}
    for (path, size, form), request in kinds.items():
        try:
            await probe(client, request, timeout=timeout)
        except ServerError as error:
            kind = "" if len(kinds) == 1 else f" ({size} texts{f', {form}' if form != ANY_FORM else ''})"
            raise ServerError(f"{target.url}{path}{kind}: {error}") from error


async def _embed_alone(
    client: Client, target: Target, timeout: float, request: Request, text: str
) -> NDArray[np.float32]:
    alone = target.request(request.route, [text])
    try:
        vectors = decode(alone, await probe(client, alone, timeout=timeout))
    except (ServerError, ValueError) as error:
        raise ServerError(f"{target.url}{request.route.path}: no vector to compare with (--check): {error}") from error
    vector: NDArray[np.float32] = vectors[0]
    return vector
