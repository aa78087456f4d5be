from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from server.app import create_app
from server.settings import ServerSettings

Client = TestClient[Litestar]
EVERY_ANSWER = {"content-length", "content-type", "x-request-id"}


@pytest.fixture
def document(client: Client) -> Any:
    return client.get("/openapi.json").json()


@pytest.mark.parametrize("accept", ["*/*", "application/octet-stream", "application/x-npy"])
def test_every_header_and_content_type_of_an_answer_is_documented(client: Client, document: Any, accept: str) -> None:
    answer = client.post("/embed", json={"inputs": "cat"}, headers={"accept": accept})
    documented = document["paths"]["/embed"]["post"]["responses"]["200"]
    assert set(answer.headers) - EVERY_ANSWER <= set(documented["headers"])
    assert answer.headers["content-type"] in documented["content"]
    assert all(header["schema"] for header in documented["headers"].values())


@pytest.mark.parametrize("path", ["/embed", "/", "/similarity", "/v1/embeddings", "/embeddings", "/v2/embed"])
def test_every_embedding_route_documents_how_urgent_and_when_to_come_back(document: Any, path: str) -> None:
    operation = document["paths"][path]["post"]
    assert {parameter["name"] for parameter in operation["parameters"]} == {
        "X-Request-Timeout-Ms",
        "X-Request-Priority",
    }
    assert set(operation["responses"]["429"]["headers"]) == {"retry-after"}


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_probes_are_documented_as_empty(client: Client, document: Any, path: str) -> None:
    assert "content" not in document["paths"][path]["get"]["responses"]["200"]
    assert client.get(path).headers["content-type"].startswith("text/plain")


def test_limits_inside_unions_are_documented(document: Any) -> None:
    fields = document["components"]["schemas"]["EmbedRequest"]["properties"]
    assert fields["timeout_ms"]["exclusiveMinimum"] == 0
    assert fields["dimensions"]["minimum"] == 1
    assert (fields["inputs"]["minLength"], fields["inputs"]["minItems"]) == (1, 1)


def test_who_needs_a_key_is_documented(settings: ServerSettings, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("a-key\n")
    with TestClient(create_app(settings.model_copy(update={"api_keys": keys}))) as client:
        document = client.get("/openapi.json").json()
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                open_to_all = {} in operation.get("security", document["security"])
                refused = client.request(method, path).status_code == 401
                assert refused is not open_to_all, path
                assert not refused or "401" in operation["responses"], path
