"""`/embed` and `/embed_all`: the routes of Text Embeddings Inference, the former with more forms of answer."""

from typing import Any

from litestar import Response, post
from litestar.params import JSONBody

from server import schemas
from server.bodies import base64_rows, json_list
from server.exchange import (
    EMBEDDING_ERRORS,
    HttpRequest,
    accepted,
    answer,
    answer_bytes,
    direction_of,
    embed_for,
    embed_tokens_for,
    errors,
    model_of,
    texts_of,
)
from server.openapi import Embedding, EmbeddingOrBytes
from server.outputs import OutputForm
from server.reading import Reading


@post(
    ["/embed", "/"],
    status_code=200,
    responses=errors(EMBEDDING_ERRORS),
    operation_class=EmbeddingOrBytes,
    summary="Embed texts",
)
async def embed(request: HttpRequest, data: JSONBody[schemas.EmbedRequest]) -> Response[schemas.Embeddings]:
    """Answer one vector per text, as Text Embeddings Inference does.

    `Accept: application/octet-stream` asks for the rows as little-endian bytes, type and shape in headers;
    `application/x-npy` for a file that `numpy.load` reads.
    """
    model = model_of(request, data.model)
    form = OutputForm(data.output_dtype, data.normalize, data.dimensions)
    model.outputs.check(form)
    reading = Reading(data.truncate, direction_of(data.truncation_direction), data.prompt_name)
    embedded = await embed_for(
        request, model, texts_of(data.inputs), reading, timeout_ms=data.timeout_ms, priority=data.priority
    )
    vectors = model.outputs.shape(embedded.vectors, form)
    if media_type := accepted(request):
        return answer_bytes(request, model, vectors, embedded, media_type=media_type)
    rows: Any = base64_rows(vectors) if data.encoding_format == "base64" else vectors
    return answer(request, model, await json_list(rows), embedded)


@post(
    "/embed_all",
    status_code=200,
    responses=errors(EMBEDDING_ERRORS),
    operation_class=Embedding,
    summary="Embed every token of texts",
)
async def embed_all(request: HttpRequest, data: JSONBody[schemas.EmbedAllRequest]) -> Response[schemas.TokenEmbeddings]:
    """Answer one vector per token, as the model gives them before pooling: nothing is scaled."""
    model = model_of(request, data.model)
    reading = Reading(data.truncate, direction_of(data.truncation_direction), data.prompt_name)
    embedded = await embed_tokens_for(
        request, model, texts_of(data.inputs), reading, timeout_ms=data.timeout_ms, priority=data.priority
    )
    return answer(request, model, await json_list(embedded.vectors), embedded)
