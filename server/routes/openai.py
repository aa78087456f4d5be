"""OpenAI's routes: `/v1/embeddings` and the list of models."""

from collections.abc import Sequence

from litestar import Response, get, post
from litestar.params import JSONBody

from server import schemas
from server.bodies import base64_rows
from server.exchange import EMBEDDING_ERRORS, HttpRequest, answer, embed_for, errors, runtime_of, texts_of
from server.outputs import OutputForm
from server.problems import answer_openai
from server.service import Reading


@post(
    ["/v1/embeddings", "/embeddings"],
    status_code=200,
    responses=errors(EMBEDDING_ERRORS, schemas.OpenAIErrorBody),
    exception_handlers={Exception: answer_openai},
    summary="Embed texts (OpenAI)",
)
async def openai_embeddings(
    request: HttpRequest, data: JSONBody[schemas.OpenAIRequest]
) -> Response[schemas.OpenAIResponse]:
    """Answer as OpenAI's embeddings route does; vectors are always of length 1."""
    runtime = runtime_of(request)
    form = OutputForm(data.output_dtype, unit_length=True, dimensions=data.dimensions)
    runtime.outputs.check(form)
    embedded = await embed_for(
        request, texts_of(data.input), Reading(), timeout_ms=data.timeout_ms, priority=data.priority
    )
    vectors = runtime.outputs.shape(embedded.vectors, form)
    rows: Sequence[object] = list(vectors) if data.encoding_format == "float" else base64_rows(vectors)
    body = {
        "object": "list",
        "data": [{"object": "embedding", "embedding": row, "index": index} for index, row in enumerate(rows)],
        "model": runtime.info.served_model_name,
        "usage": {"prompt_tokens": embedded.tokens, "total_tokens": embedded.tokens},
    }
    return answer(request, body, embedded)


@get("/v1/models", summary="List models (OpenAI)")
async def models(request: HttpRequest) -> schemas.Models:
    """Answer the one model that is served."""
    runtime = runtime_of(request)
    model = schemas.ServedModel(runtime.info.served_model_name, "model", int(runtime.created.timestamp()), "disco")
    return schemas.Models("list", [model])
