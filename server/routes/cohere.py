"""Cohere's route: `/v2/embed`, for text."""

import secrets

from litestar import Response, post
from litestar.params import JSONBody

from bundle.output_types import OutputType
from server import schemas
from server.bodies import base64_rows, json_list
from server.exchange import EMBEDDING_ERRORS, HttpRequest, answer, embed_for, errors, model_of
from server.openapi import Embedding
from server.outputs import OutputForm
from server.problems import answer_cohere
from server.reading import Reading

_OUTPUT_TYPES: dict[schemas.CohereType, OutputType] = {
    "float": "float32",
    "base64": "float32",
    "int8": "int8",
    "uint8": "uint8",
    "binary": "binary",
    "ubinary": "ubinary",
}
_PROMPTS = {"search_query": ("query",), "search_document": ("document", "passage")}


@post(
    "/v2/embed",
    status_code=200,
    responses=errors(EMBEDDING_ERRORS, schemas.CohereError),
    operation_class=Embedding,
    exception_handlers={Exception: answer_cohere},
    summary="Embed texts (Cohere)",
)
async def cohere_embed(request: HttpRequest, data: JSONBody[schemas.CohereRequest]) -> Response[schemas.CohereResponse]:
    """Answer as version 2 of Cohere's embeddings route does; vectors are always of length 1."""
    model = model_of(request, data.model)
    forms = {
        name: OutputForm(_OUTPUT_TYPES[name], unit_length=True, dimensions=data.output_dimension)
        for name in data.embedding_types
    }
    for form in forms.values():
        model.outputs.check(form)
    prompt = next((name for name in _PROMPTS.get(data.input_type or "", ()) if name in model.info.prompts), None)
    reading = Reading(data.truncate != "NONE", "left" if data.truncate == "START" else "right", prompt)
    embedded = await embed_for(request, model, data.texts, reading, timeout_ms=data.timeout_ms, priority=None)
    vectors = {name: model.outputs.shape(embedded.vectors, form) for name, form in forms.items()}
    body = {
        "id": secrets.token_hex(16),
        "embeddings": {
            name: await json_list(base64_rows(found) if name == "base64" else found) for name, found in vectors.items()
        },
        "meta": {"billed_units": {"input_tokens": embedded.tokens}},
        "response_type": "embeddings_by_type",
    }
    return answer(request, model, body, embedded)
