"""The OpenAPI document and a page that shows it. The page loads no script and nothing from another site."""

import json
from html import escape
from typing import Any

from litestar import MediaType, Request, Response, get

from server.access import OPERATIONAL

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h2 { border-top: 1px solid #ccc; padding-top: 1rem } code, pre { background: #f4f4f4; border-radius: 4px }
pre { padding: .7rem; overflow-x: auto } code { padding: .1rem .3rem } td { padding-right: 1rem; vertical-align: top }
"""


@get("/openapi.json", opt=OPERATIONAL, include_in_schema=False)
async def openapi_json(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """Answer the OpenAPI document."""
    return request.app.openapi_schema.to_schema()


@get("/docs", opt=OPERATIONAL, media_type=MediaType.HTML, include_in_schema=False)
async def page(request: Request[Any, Any, Any]) -> Response[str]:
    """Answer a page for people."""
    return Response(render(request.app.openapi_schema.to_schema()), media_type=MediaType.HTML)


HANDLERS = [openapi_json, page]


def render(document: dict[str, Any]) -> str:
    """Lay an OpenAPI document out as one HTML page."""
    title = escape(document["info"]["title"])
    operations = [
        _operation(path, method, operation, document)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    schemas = [
        f"<h3 id='{escape(name)}'>{escape(name)}</h3>{_code(schema)}"
        for name, schema in document.get("components", {}).get("schemas", {}).items()
    ]
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{title}</title><style>{_STYLE}</style>"
        f"<h1>{title}</h1><p>{escape(document['info'].get('description', ''))} "
        "The machine-readable form is <a href='openapi.json'>openapi.json</a>.</p>"
        f"{''.join(operations)}<h2>Schemas</h2>{''.join(schemas)}</html>"
    )


def _operation(path: str, method: str, operation: dict[str, Any], document: dict[str, Any]) -> str:
    answers = "".join(
        f"<tr><td>{status}</td><td>{escape(answer.get('description', ''))}</td></tr>"
        for status, answer in operation["responses"].items()
    )
    body = "".join(
        f"<p>Body</p>{_code(_resolved(content['schema'], document))}"
        for content in operation.get("requestBody", {}).get("content", {}).values()
    )
    return (
        f"<h2><code>{method.upper()} {escape(path)}</code> {escape(operation.get('summary', ''))}</h2>"
        f"<p>{escape(operation.get('description', ''))}</p>{body}<table>{answers}</table>"
    )


def _resolved(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in schema:
        return schema
    found: dict[str, Any] = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
    return found


def _code(value: object) -> str:
    return f"<pre>{escape(json.dumps(value, indent=2))}</pre>"
