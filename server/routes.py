"""The HTTP routes: thin handlers between the schemas and the service. No batching, no error handling here."""

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from litestar import MediaType, Request, Response, get, post
from litestar.openapi import ResponseSpec
from litestar.params import JSONBody
from litestar.types import Receive

from bundle.arrays import normalize
from bundle.errors import EmptyInputError
from bundle.text import Direction
from server import schemas, timings
from server.bodies import JsonResponse, base64_rows
from server.errors import InvalidRequestError, UnhealthyError
from server.problems import answer_openai
from server.runtime import Runtime
from server.service import Embedded, Reading, Text

HttpRequest = Request[Any, Any, Any]

EMBEDDING_ERRORS = {
    400: "The body is not JSON, or there is nothing to embed.",
    413: "The body is larger than the payload limit.",
    415: "The body is not declared as JSON.",
    422: "A field is missing or wrong, there are too many texts, or one is too long.",
    424: "The model failed on this batch.",
    429: "Too much is waiting; nothing was accepted. `Retry-After` says when to come back.",
    503: "No engine worker is running.",
    504: "The work was not done in time.",
}
TOKENIZE_ERRORS = {status: EMBEDDING_ERRORS[status] for status in (400, 413, 415, 422)}


def _errors(descriptions: dict[int, str], body: type = schemas.ErrorBody) -> dict[int, ResponseSpec]:
    return {
        status: ResponseSpec(data_container=body, description=description, generate_examples=False)
        for status, description in descriptions.items()
    }


@post(["/embed", "/"], status_code=200, responses=_errors(EMBEDDING_ERRORS), summary="Embed texts")
async def embed(request: HttpRequest, data: JSONBody[schemas.EmbedRequest]) -> Response[schemas.Embeddings]:
    """Answer one vector per text, as Text Embeddings Inference does."""
    service = _runtime(request).service
    service.check_dimensions(data.dimensions)
    texts = _texts(data.inputs)
    reading = Reading(data.truncate, _direction(data.truncation_direction), data.prompt_name)
    embedded = await service.embed(texts, reading, partial(_client_gone, request.receive))
    vectors = service.finish(embedded.vectors, unit_length=data.normalize, dimensions=data.dimensions)
    return _answer(request, vectors, embedded)


@post("/similarity", status_code=200, responses=_errors(EMBEDDING_ERRORS), summary="Compare a text with others")
async def similarity(request: HttpRequest, data: JSONBody[schemas.SimilarityRequest]) -> Response[schemas.Similarities]:
    """Answer the cosine of the source sentence with each sentence."""
    if not data.inputs.sentences:
        raise EmptyInputError("`inputs.sentences` cannot be empty")
    parameters = data.parameters or schemas.SimilarityParameters()
    reading = Reading(parameters.truncate, _direction(parameters.truncation_direction), parameters.prompt_name)
    texts = [data.inputs.source_sentence, *data.inputs.sentences]
    embedded = await _runtime(request).service.embed(texts, reading, partial(_client_gone, request.receive))
    unit = normalize(embedded.vectors)
    return _answer(request, unit[1:] @ unit[0], embedded)


@post(
    ["/v1/embeddings", "/embeddings"],
    status_code=200,
    responses=_errors(EMBEDDING_ERRORS, schemas.OpenAIErrorBody),
    exception_handlers={Exception: answer_openai},
    summary="Embed texts (OpenAI)",
)
async def openai_embeddings(
    request: HttpRequest, data: JSONBody[schemas.OpenAIRequest]
) -> Response[schemas.OpenAIResponse]:
    """Answer as OpenAI's embeddings route does; vectors are always of length 1."""
    runtime = _runtime(request)
    service = runtime.service
    service.check_dimensions(data.dimensions)
    embedded = await service.embed(_texts(data.input), Reading(), partial(_client_gone, request.receive))
    vectors = service.finish(embedded.vectors, unit_length=True, dimensions=data.dimensions)
    rows: Sequence[object] = list(vectors) if data.encoding_format == "float" else base64_rows(vectors)
    body = {
        "object": "list",
        "data": [{"object": "embedding", "embedding": row, "index": index} for index, row in enumerate(rows)],
        "model": runtime.info.served_model_name,
        "usage": {"prompt_tokens": embedded.tokens, "total_tokens": embedded.tokens},
    }
    return _answer(request, body, embedded)


@post("/tokenize", status_code=200, responses=_errors(TOKENIZE_ERRORS), summary="Show how texts are read")
async def tokenize(
    request: HttpRequest, data: JSONBody[schemas.TokenizeRequest]
) -> Response[list[list[schemas.TokenBody]]]:
    """Answer each text's tokens."""
    texts = [data.inputs] if isinstance(data.inputs, str) else data.inputs
    tokens = await _runtime(request).service.tokens(
        texts, add_special_tokens=data.add_special_tokens, prompt_name=data.prompt_name
    )
    return JsonResponse([[token._asdict() for token in text] for text in tokens])


@get("/info", summary="What is served")
async def info(request: HttpRequest) -> schemas.Info:
    """Answer the model, its limits and how it is run."""
    return _runtime(request).info


@get("/health", responses=_errors({503: "An engine worker is down or hangs."}), summary="Does the engine work?")
async def health(request: HttpRequest) -> Response[None]:
    """Answer an empty 200 while every engine worker works."""
    if not _runtime(request).engine.healthy:
        raise UnhealthyError("unhealthy")
    return Response(None, media_type=MediaType.TEXT)


@get("/ready", responses=_errors({503: "Starting, shutting down or unhealthy."}), summary="Should it get traffic?")
async def ready(request: HttpRequest) -> Response[None]:
    """Answer an empty 200 while new requests are welcome."""
    if not _runtime(request).ready:
        raise UnhealthyError("not ready")
    return Response(None, media_type=MediaType.TEXT)


@get("/metrics", media_type="text/plain; version=0.0.4; charset=utf-8", summary="Prometheus metrics")
async def metrics(request: HttpRequest) -> Response[bytes]:
    """Answer all metrics in Prometheus' text format."""
    return Response(request.app.state.metrics.render())


HANDLERS = [embed, similarity, openai_embeddings, tokenize, info, health, ready, metrics]


def _runtime(request: HttpRequest) -> Runtime:
    runtime: Runtime = request.app.state.runtime
    return runtime


def _texts(inputs: str | list[str | int | list[int]]) -> list[Text]:
    """A flat list of ints is one text; a list of strings and int lists is a batch."""
    if isinstance(inputs, str):
        return [inputs]
    texts = [text for text in inputs if not isinstance(text, int)]
    if len(texts) == len(inputs):
        return texts
    if texts:
        raise InvalidRequestError("token ids stand beside texts; wrap each text's ids in a list of their own")
    return [[token for token in inputs if isinstance(token, int)]]


def _direction(side: schemas.Side) -> Direction:
    return "left" if side in ("left", "Left") else "right"


def _answer(request: HttpRequest, content: object, embedded: Embedded) -> JsonResponse:
    runtime = _runtime(request)
    spent = embedded.timings(time.perf_counter() - request.scope["state"]["started"])
    request.app.state.metrics.request_done(spent, texts=len(embedded.vectors))
    headers = timings.headers(
        spent, characters=embedded.characters, tokens=embedded.tokens, compute_type=runtime.compute_type
    )
    return JsonResponse(content, headers=headers)


async def _client_gone(receive: Receive) -> None:
    # The body has been read: what comes next can only be the end of the connection.
    while (await receive())["type"] != "http.disconnect":
        pass
