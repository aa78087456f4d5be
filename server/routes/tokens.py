"""Texts to tokens and back, without embedding."""

from functools import partial

from litestar import Response, post
from litestar.params import JSONBody

from server import schemas
from server.bodies import JsonResponse, json_list
from server.exchange import TOKENIZE_ERRORS, HttpRequest, client_gone, errors, model_of, texts_of


@post("/tokenize", status_code=200, responses=errors(TOKENIZE_ERRORS), summary="Show how texts are read")
async def tokenize(
    request: HttpRequest, data: JSONBody[schemas.TokenizeRequest]
) -> Response[list[list[schemas.TokenBody]]]:
    """Answer each text's tokens."""
    texts = [data.inputs] if isinstance(data.inputs, str) else data.inputs
    service = model_of(request, data.model).service
    tokens = await service.tokens(
        texts,
        add_special_tokens=data.add_special_tokens,
        prompt_name=data.prompt_name,
        disconnected=partial(client_gone, request.receive),
    )
    return JsonResponse(await json_list([token._asdict() for token in text] for text in tokens))


@post("/decode", status_code=200, responses=errors(TOKENIZE_ERRORS), summary="Turn tokens back into texts")
async def decode(request: HttpRequest, data: JSONBody[schemas.DecodeRequest]) -> Response[list[str]]:
    """Answer one text per list of ids; a flat list of ids is one text."""
    rows = [row for row in texts_of(data.ids) if not isinstance(row, str)]
    service = model_of(request, data.model).service
    texts = await service.decode(
        rows, skip_special_tokens=data.skip_special_tokens, disconnected=partial(client_gone, request.receive)
    )
    return JsonResponse(texts)
