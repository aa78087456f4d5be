"""Requests at a time when what waits takes too long: refused as every route does it, before anything is read."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from bundle.layout import Bundle
from server.app import create_app
from server.model import Model
from server.settings import ServerSettings


@pytest.fixture
def client(tiny_bundle: Bundle) -> Iterator[TestClient[Litestar]]:
    with TestClient(create_app(ServerSettings(bundle=[f"a={tiny_bundle.path}", f"b={tiny_bundle.path}"]))) as client:
        yield client


def overload(model: Model) -> None:
    model.queue._limits = replace(model.queue._limits, seconds=-1.0)  # even an empty queue takes longer


def test_every_embedding_route_refuses_in_its_own_shape(client: TestClient[Litestar]) -> None:
    for model in client.app.state.runtime.models:
        overload(model)
    shapes = {"/embed": "error_type", "/": "error_type", "/similarity": "error_type", "/v2/embed": "message"}
    for path, field in shapes.items():
        answer = client.post(path, content="never read")
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        assert field in answer.json()
        assert answer.headers["x-request-id"]
    openai = client.post("/v1/embeddings", content="never read")
    assert openai.json()["error"]["code"] == "overloaded"
    metrics = client.get("/metrics").text
    assert 'disco_requests_total{route="/embed",status="429"} 1.0' in metrics
    assert 'disco_refused_requests_total{model="a",reason="seconds"} 5.0' in metrics
    assert 'disco_errors_total{type="Overloaded"} 5.0' in metrics


def test_what_needs_no_engine_is_answered(client: TestClient[Litestar]) -> None:
    for model in client.app.state.runtime.models:
        overload(model)
    assert client.get("/ready").status_code == 200
    assert client.post("/tokenize", json={"inputs": "the cat"}).status_code == 200
    assert client.get("/embed").status_code == 405
    assert client.post("/nowhere").status_code == 404


def test_a_model_that_has_room_is_served_though_another_has_none(client: TestClient[Litestar]) -> None:
    overload(client.app.state.runtime.model("a"))
    assert client.post("/embed", json={"inputs": "the cat", "model": "b"}).status_code == 200
    refused = client.post("/embed", json={"inputs": "the cat", "model": "a"})
    assert refused.status_code == 429
    assert "what waits takes" in refused.json()["error"]
