"""What all routes share: reading texts from a body, documented errors, and the answer with its timing headers."""

import math
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from litestar import Request, Response
from litestar.openapi import ResponseSpec
from litestar.types import Receive
from numpy.typing import NDArray

from bundle.arrays import Vectors
from bundle.text import Direction
from server import schemas, timings
from server.access import API_KEY
from server.bodies import BytesResponse, JsonResponse, npy_file, raw_bytes
from server.dispatch import Disconnected
from server.errors import InvalidRequestError, OverloadedError
from server.jobs import Lane
from server.model import Model
from server.rates import RateLimits
from server.reading import Reading, Text
from server.runtime import Runtime
from server.service import Embedded
from server.siblings import Siblings
from server.telemetry import WORK, Work
from server.urgency import Urgency, urgency_of

HttpRequest = Request[Any, Any, Any]
V = TypeVar("V")

EMBEDDING_ERRORS = {
    400: "The body is not JSON, or there is nothing to embed.",
    401: "The server asks for an API key, and none or a wrong one was sent.",
    404: "There is no model of that name.",
    408: "The body did not come in time.",
    413: "The body is larger than the payload limit.",
    415: "The body is not declared as JSON.",
    422: "A field is missing or wrong, there are too many texts, or one is too long.",
    424: "The model failed on this batch.",
    429: "Too much is waiting, or came by this API key; nothing was accepted. `Retry-After` says when to come back.",
    503: "No engine worker is running, or too many connections are open.",
    504: "The work was not done in time.",
}
KEY_ERRORS = {401: EMBEDDING_ERRORS[401]}
GUARD_ERRORS = {status: EMBEDDING_ERRORS[status] for status in (401, 503)}
TOKENIZE_ERRORS = {status: EMBEDDING_ERRORS[status] for status in EMBEDDING_ERRORS if status != 424}

RAW = "application/octet-stream"
NPY = "application/x-npy"


def errors(descriptions: dict[int, str], body: type = schemas.ErrorBody) -> dict[int, ResponseSpec]:
    """Document these statuses with `body`."""
    return {
        status: ResponseSpec(data_container=body, description=description, generate_examples=False)
        for status, description in descriptions.items()
    }


def runtime_of(request: HttpRequest) -> Runtime:
    """What lives while the server runs."""
    runtime: Runtime = request.app.state.runtime
    return runtime


def siblings_of(request: HttpRequest) -> Siblings:
    """All front ends of this server."""
    siblings: Siblings = request.app.state.siblings
    return siblings


def model_of(request: HttpRequest, name: str | None) -> Model:
    """The model of that name.

    Raises:
        UnknownModelError: there are several, and none is called so.
    """
    return runtime_of(request).model(name)


def texts_of(inputs: str | Sequence[str | int | list[int]]) -> list[Text]:
    """A flat list of ints is one text; a list of strings and int lists is a batch.

    Raises:
        InvalidRequestError: token ids stand beside texts.
    """
    if isinstance(inputs, str):
        return [inputs]
    texts = [text for text in inputs if not isinstance(text, int)]
    if len(texts) == len(inputs):
        return texts
    if texts:
        raise InvalidRequestError("token ids stand beside texts; wrap each text's ids in a list of their own")
    return [[token for token in inputs if isinstance(token, int)]]


def direction_of(side: schemas.Side) -> Direction:
    """The side that truncation cuts from, as `bundle.text` calls it."""
    return "left" if side in ("left", "Left") else "right"


def answer(request: HttpRequest, model: Model, content: object, embedded: Embedded[Any]) -> Response[Any]:
    """Answer JSON with the timing headers."""
    return JsonResponse(content, headers=_account(request, model, embedded))


def answer_bytes(
    request: HttpRequest, model: Model, vectors: NDArray[Any], embedded: Embedded[Any], *, media_type: str
) -> Response[Any]:
    """Answer the rows of `vectors` as bytes: little-endian and one after the other (RAW), or as a file of numpy's."""
    body = npy_file(vectors) if media_type == NPY else raw_bytes(vectors)
    shape = {"x-embedding-dtype": str(vectors.dtype), "x-embedding-shape": ",".join(map(str, vectors.shape))}
    return BytesResponse(body, media_type=media_type, headers=shape | _account(request, model, embedded))


def accepted(request: HttpRequest) -> str | None:
    """RAW or NPY where the client's Accept header asks for that rather than for JSON, else None: JSON."""
    header = request.headers.get("accept", "")
    if not any(media_type in header for media_type in (NPY, RAW)):
        return None  # nearly always, and what comes now is ten times as much work
    best = request.accept.best_match(["application/json", NPY, RAW])
    return best if best in (NPY, RAW) else None


async def embed_for(
    request: HttpRequest,
    model: Model,
    texts: Sequence[Text],
    reading: Reading,
    *,
    timeout_ms: float | None,
    priority: Lane | None,
) -> Embedded[Vectors]:
    """Embed what a request brings, for as long as its client waits.

    How urgent it is say the body's fields, or else the headers `X-Request-Timeout-Ms` and `X-Request-Priority`, which
    are looked at in any case.

    Raises:
        InvalidRequestError: a header's value is none of those that are possible.
        OverloadedError: the API key may not embed so many texts now.
        DiscoError: whatever `EmbeddingService.embed` raises.
    """
    urgency = urgency_of(request.headers, timeout_ms, priority)
    return await _embed(request, model, model.service.embed, texts, reading, urgency)


async def embed_tokens_for(
    request: HttpRequest,
    model: Model,
    texts: Sequence[Text],
    reading: Reading,
    *,
    timeout_ms: float | None,
    priority: Lane | None,
) -> Embedded[list[Vectors]]:
    """`embed_for` without pooling: a vector for every token.

    Raises:
        InvalidRequestError: as `embed_for`, or the model's engine gives pooled vectors only.
        DiscoError: whatever `EmbeddingService.embed_tokens` raises.
    """
    if not model.engine.encodes_tokens:
        raise InvalidRequestError(f"{model.name} gives pooled vectors only: its graph does not output its tokens'")
    urgency = urgency_of(request.headers, timeout_ms, priority)
    return await _embed(request, model, model.service.embed_tokens, texts, reading, urgency)


async def _embed(
    request: HttpRequest,
    model: Model,
    embed: Callable[[Sequence[Text], Reading, Disconnected, Urgency], Awaitable[Embedded[V]]],
    texts: Sequence[Text],
    reading: Reading,
    urgency: Urgency,
) -> Embedded[V]:
    request.scope["state"][WORK] = work = Work(model.name, len(texts))
    with _charged(request, model, len(texts)):
        embedded = await embed(texts, reading, partial(client_gone, request.receive), urgency)
    work.embedded = embedded
    return embedded


@contextmanager
def _charged(request: HttpRequest, model: Model, texts: int) -> Iterator[None]:
    """Charge the request's API key, where there are limits, unless the queue has no room for the texts."""
    rates: RateLimits | None = request.app.state.rates
    if rates is None:
        yield
        return
    model.service.check_count(texts)  # before anything is charged
    key = request.scope["state"][API_KEY]
    if seconds := rates.take(key, texts):
        model.metrics.refused["rate"].inc()
        message = f"more texts than this API key's {rates.texts_per_second:g} per second; nothing was accepted"
        raise OverloadedError(message, reason="rate", retry_after=math.ceil(seconds))
    try:
        yield
    except OverloadedError:
        rates.give_back(key, texts)
        raise


async def client_gone(receive: Receive) -> None:
    """Return once nobody is left who would read the answer."""
    # The body has been read: what comes next can only be the end of the connection.
    while (await receive())["type"] != "http.disconnect":
        pass


def _account(request: HttpRequest, model: Model, embedded: Embedded[Any]) -> dict[str, str]:
    """Count the request and say where its time went."""
    spent = embedded.timings(time.perf_counter() - request.scope["state"]["started"])
    model.metrics.request_done(spent, texts=embedded.texts)
    return timings.headers(
        spent,
        characters=embedded.characters,
        tokens=embedded.tokens,
        compute_type=model.compute_type,
    )
