"""`/similarity`: cosines computed here, so that no vector has to travel."""

from litestar import Response, post
from litestar.params import JSONBody

from server import schemas
from server.comparison import plan
from server.exchange import (
    EMBEDDING_ERRORS,
    HttpRequest,
    answer,
    direction_of,
    embed_for,
    errors,
    model_of,
)
from server.openapi import Embedding
from server.reading import Reading


@post(
    "/similarity",
    status_code=200,
    responses=errors(EMBEDDING_ERRORS),
    operation_class=Embedding,
    summary="Compare texts",
)
async def similarity(request: HttpRequest, data: JSONBody[schemas.SimilarityRequest]) -> Response[schemas.Similarities]:
    """Answer cosines: of the source sentence with each sentence, of each pair, or of each query with each document.

    With `top_k` only the best are answered, with their places in the list.
    """
    model = model_of(request, data.model)
    comparison = plan(data.inputs, data.top_k)
    parameters = data.parameters or schemas.SimilarityParameters()
    reading = Reading(parameters.truncate, direction_of(parameters.truncation_direction), parameters.prompt_name)
    embedded = await embed_for(
        request, model, comparison.texts, reading, timeout_ms=data.timeout_ms, priority=data.priority
    )
    return answer(request, model, comparison.score(embedded.vectors), embedded)
