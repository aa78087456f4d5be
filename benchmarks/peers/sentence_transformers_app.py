"""What one writes to serve a sentence-transformers model without a server for it: an ASGI app of one route.

`POST /embed` takes {"inputs": ["a text", …]} or {"inputs": "a text"}. Knows nothing of this project.
"""

import asyncio
import json
import os
from typing import Any

from sentence_transformers import SentenceTransformer

BACKEND = os.environ["BACKEND"]
OPTIONS = {"file_name": os.environ["ONNX_FILE"], "provider": "CPUExecutionProvider"} if BACKEND == "onnx" else {}
MODEL = SentenceTransformer(os.environ["MODEL"], backend=BACKEND, device="cpu", model_kwargs=OPTIONS)


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer one request."""
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    answer = await asyncio.to_thread(embed, body)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


def embed(body: bytes) -> bytes:
    """The vectors of a request's texts."""
    inputs = json.loads(body)["inputs"]
    texts = [inputs] if isinstance(inputs, str) else inputs
    return json.dumps(MODEL.encode(texts, show_progress_bar=False).tolist()).encode()
