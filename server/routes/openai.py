"""OpenAI's routes: `/v1/embeddings` and the list of models."""

from collections.abc import Iterable

from litestar import Response, get, post
from litestar.params import JSONBody

from server import schemas
from server.bodies import base64_rows, json_list
from server.exchange import (
    EMBEDDING_ERRORS,
    GUARD_ERRORS,
    HttpRequest,
    answer,
    embed_for,
    errors,
    model_of,
    runtime_of,
    texts_of,
)
from server.openapi import Embedding
from server.outputs import OutputForm
from server.problems import answer_openai
from server.reading import Reading


@post(
    ["/v1/embeddings", "/embeddings"],
    status_code=200,
    responses=errors(EMBEDDING_ERRORS, schemas.OpenAIErrorBody),
    operation_class=Embedding,
    exception_handlers={Exception: answer_openai},
    summary="Embed texts (OpenAI)",
)
async def openai_embeddings(
    request: HttpRequest, data: JSONBody[schemas.OpenAIRequest]
) -> Response[schemas.OpenAIResponse]:
    """Answer as OpenAI's embeddings route does; vectors are always of length 1."""
    model = model_of(request, data.model)
    form = OutputForm(data.output_dtype, unit_length=True, dimensions=data.dimensions)
    model.outputs.check(form)
    embedded = await embed_for(
        request, model, texts_of(data.input), Reading(), timeout_ms=data.timeout_ms, priority=data.priority
    )
    vectors = model.outputs.shape(embedded.vectors, form)
    rows: Iterable[object] = vectors if data.encoding_format == "float" else base64_rows(vectors)
    body = {
        "object": "list",
        "data": await json_list(
            {"object": "embedding", "embedding": row, "index": index} for index, row in enumerate(rows)
        ),
        "model": model.info.served_model_name,
        "usage": {"prompt_tokens": embedded.tokens, "total_tokens": embedded.tokens},
    }
    return answer(request, model, body, embedded)


@get(
    "/v1/models",
    responses=errors(GUARD_ERRORS, schemas.OpenAIErrorBody),
    exception_handlers={Exception: answer_openai},
    summary="List models (OpenAI)",
)
async def models(request: HttpRequest) -> schemas.Models:
    """Answer the models that are served, the default one first."""
    served = [
        schemas.ServedModel(model.name, "model", int(model.created.timestamp()), "disco")
        for model in runtime_of(request).models
    ]
    return schemas.Models("list", served)
