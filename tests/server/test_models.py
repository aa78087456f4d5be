"""Several models in one process, and models that are replaced while requests go on."""

import asyncio
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from litestar import Litestar
from litestar.testing import TestClient
from numpy.typing import NDArray

from bundle.arrays import Vectors
from bundle.layout import Bundle, open_bundle
from server.app import create_app
from server.errors import BundleConflictError, UnknownModelError
from server.metrics import Metrics
from server.runtime import running
from server.settings import ServerSettings
from tests.conftest import build_tiny_bundle

KEY = {"authorization": "Bearer operator"}


def replace_bundle(path: Path, *, scale: float = -1.0) -> Bundle:
    """Put another version of the tiny bundle in the place of `path`, in one step as an export does."""
    fresh = build_tiny_bundle(path.with_name("fresh"), scale=scale)
    path.rename(path.with_name("old"))
    fresh.path.rename(path)
    shutil.rmtree(path.with_name("old"))
    return open_bundle(path)


def vector(client: TestClient[Litestar], **fields: str) -> NDArray[np.float64]:
    response = client.post("/embed", json={"inputs": "the cat", **fields})
    assert response.status_code == 200, response.text
    return np.array(response.json()[0])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return build_tiny_bundle(tmp_path / "tiny").path


@pytest.fixture
def settings(path: Path, tmp_path: Path) -> ServerSettings:
    (tmp_path / "keys").write_text("operator\n")
    return ServerSettings(bundle=[str(path)], workers=1, api_keys=tmp_path / "keys")


@pytest.fixture
def client(settings: ServerSettings) -> Iterator[TestClient[Litestar]]:
    with TestClient(create_app(settings)) as client:
        client.headers.update(KEY)
        yield client


def test_the_field_model_chooses(path: Path, tmp_path: Path) -> None:
    mirrored = build_tiny_bundle(tmp_path / "mirrored", scale=-1.0).path
    settings = ServerSettings(bundle=[f"plain={path}", f"mirrored={mirrored}"], workers=1)
    with TestClient(create_app(settings)) as client:
        plain, other = vector(client, model="plain"), vector(client, model="mirrored")
        np.testing.assert_allclose(other, -plain, atol=1e-6)
        np.testing.assert_array_equal(vector(client), plain, "the first one, where none is named")
        openai = client.post("/v1/embeddings", json={"input": "the cat", "model": "mirrored"}).json()
        assert openai["model"] == "mirrored"
        np.testing.assert_array_equal(openai["data"][0]["embedding"], other)
        assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["plain", "mirrored"]
        unknown = client.post("/v1/embeddings", json={"input": "the cat", "model": "gpt"})
        assert unknown.status_code == 404
        assert "this server has plain, mirrored" in unknown.json()["error"]["message"]
        metrics = client.get("/metrics").text
        assert 'disco_texts_total{model="plain"} 2.0' in metrics
        assert 'disco_texts_total{model="mirrored"} 2.0' in metrics


def test_a_single_model_takes_any_name(client: TestClient[Litestar]) -> None:
    np.testing.assert_array_equal(vector(client, model="text-embedding-3-small"), vector(client))


def test_two_models_of_one_name_are_refused(path: Path) -> None:
    settings = ServerSettings(bundle=[str(path), str(path)], workers=1)

    async def start() -> None:
        async with running(settings, Metrics()):
            raise AssertionError("two models of one name are served")

    with pytest.raises(BundleConflictError, match="two bundles are called 'tiny'"):
        asyncio.run(start())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("engine")]


def test_a_changed_bundle_takes_the_place_of_the_old_one(client: TestClient[Litestar], path: Path) -> None:
    before = vector(client)
    unchanged = client.post("/admin/reload").json()
    assert unchanged["replaced"] == []
    bundle = replace_bundle(path)
    answer = client.post("/admin/reload").json()
    assert answer == {"replaced": ["tiny"], "bundle_versions": {"tiny": bundle.manifest.version}}
    np.testing.assert_allclose(vector(client), -before, atol=1e-6)
    assert client.get("/info").json()["bundle_version"] == bundle.manifest.version


def test_a_bundle_that_cannot_be_served_changes_nothing(client: TestClient[Litestar], path: Path) -> None:
    before = vector(client)
    graph = path / "onnx" / "model.onnx"
    content = graph.read_bytes()
    graph.write_bytes(content[:-1])
    refused = client.post("/admin/reload")
    assert refused.status_code == 409
    assert "model.onnx" in refused.json()["error"]
    np.testing.assert_array_equal(vector(client), before)
    shutil.rmtree(path)
    build_tiny_bundle(path, dimension=4)
    refused = client.post("/admin/reload")
    assert refused.status_code == 409
    assert "has 4 dimensions, the one that is served 8" in refused.json()["error"]
    np.testing.assert_array_equal(vector(client), before)


def test_nothing_that_is_wrong_with_a_new_bundle_ends_what_is_served(
    settings: ServerSettings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with running(settings, Metrics()) as runtime:
            monkeypatch.setattr("server.runtime.open_bundle", lambda _: 1 / 0)
            await runtime.try_reload()
            assert runtime.ready

    asyncio.run(scenario())
    assert "not reloaded" in caplog.text


def test_a_bundle_that_does_not_work_changes_nothing(
    client: TestClient[Litestar], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nonsense(*_: object, **__: object) -> Vectors:
        return np.full((1, 8), np.nan, dtype=np.float32)

    before = vector(client)
    replace_bundle(path, scale=-1.0)
    with monkeypatch.context() as patched:
        patched.setattr("server.engine_process.ProcessEncoder.encode", nonsense)
        refused = client.post("/admin/reload")
    assert refused.status_code == 409
    assert "the new bundle of tiny does not work (BackendError)" in refused.json()["error"]
    np.testing.assert_array_equal(vector(client), before)
    assert client.post("/admin/reload").json()["replaced"] == ["tiny"]


def test_only_operators_may_reload(settings: ServerSettings) -> None:
    with TestClient(create_app(settings)) as stranger:
        assert stranger.post("/admin/reload").status_code == 401
    with TestClient(create_app(settings.model_copy(update={"api_keys": None}))) as anybody:
        answer = anybody.post("/admin/reload")
        assert answer.status_code == 403
        assert "--api-keys" in answer.json()["error"]


def test_no_request_fails_while_models_are_replaced(client: TestClient[Litestar], path: Path) -> None:
    """Requests in flight at every moment of ten replacements: each is answered, by the one bundle or the other."""
    done = threading.Event()

    def ask(number: int) -> list[tuple[int, float]]:
        answers: list[tuple[int, float]] = []
        while not done.is_set():
            response = client.post("/embed", json={"inputs": ["the cat", f"dog {number} {len(answers)}"]})
            answers.append((response.status_code, response.json()[0][0]))
        return answers

    reference = vector(client)[0]
    with ThreadPoolExecutor(4) as threads:
        asking = [threads.submit(ask, number) for number in range(4)]
        try:
            for replacement in range(1, 11):
                replace_bundle(path, scale=(-1.0) ** replacement)
                response = client.post("/admin/reload")
                assert response.json()["replaced"] == ["tiny"], response.text
        finally:
            done.set()
        answers = [answer for future in asking for answer in future.result()]
    assert {status for status, _ in answers} == {200}
    assert {round(value / reference, 3) for _, value in answers} == {1.0, -1.0}


def test_an_unknown_model_is_an_error_of_its_own(settings: ServerSettings, path: Path, tmp_path: Path) -> None:
    both = settings.model_copy(update={"bundle": [f"a={path}", f"b={path}"]})

    async def scenario() -> None:
        async with running(both, Metrics()) as runtime:
            assert runtime.model().name == runtime.model("a").name == "a"
            assert runtime.model("b").name == "b"
            with pytest.raises(UnknownModelError, match="no model 'c'"):
                runtime.model("c")

    asyncio.run(scenario())
