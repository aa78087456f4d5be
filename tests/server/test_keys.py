import os
from pathlib import Path

import pytest
from litestar.testing import TestClient

from server.app import create_app
from server.keys import LOOK_EVERY, ApiKeys, ApiKeysError
from server.settings import ServerSettings


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def write(file: Path, text: str, *, mtime: int) -> Path:
    file.write_text(text)
    os.utime(file, ns=(mtime, mtime))
    return file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "keys", "# for the web shop\nfirst-key\n\n  second-key  \n", mtime=1)


@pytest.mark.parametrize(
    ("authorization", "allowed"),
    [
        ("Bearer first-key", True),
        ("bearer second-key", True),
        ("Bearer third-key", False),
        ("Bearer first-ke", False),
        ("Bearer # for the web shop", False),
        ("Bearer ", False),
        ("Basic first-key", False),
        ("first-key", False),
        (None, False),
    ],
)
def test_only_the_keys_of_the_file_are_let_through(file: Path, authorization: str | None, allowed: bool) -> None:
    assert (ApiKeys(file).find(authorization) is not None) is allowed


def test_a_changed_file_is_read_anew_and_a_broken_one_is_not(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    keys = ApiKeys(file, clock=clock)
    write(file, "third-key\n", mtime=2)
    assert keys.find("Bearer first-key"), "not looked at yet"
    clock.now += LOOK_EVERY
    assert not keys.find("Bearer first-key")
    assert keys.find("Bearer third-key")
    for broken in ("", "# nothing but this\n"):
        write(file, broken, mtime=3 + len(broken))
        clock.now += LOOK_EVERY
        assert keys.find("Bearer third-key"), "kept"
    file.unlink()
    clock.now += LOOK_EVERY
    assert keys.find("Bearer third-key")
    assert "kept" in caplog.text
    assert "third-key" not in caplog.text


@pytest.mark.parametrize("content", [None, b"", b"# none\n", b"\xff\xfe"])
def test_a_file_without_keys_is_refused_at_start(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "keys").write_bytes(content)
    with pytest.raises(ApiKeysError, match="keys"):
        ApiKeys(tmp_path / "keys")


@pytest.mark.parametrize("protected", [False, True])
def test_routes_ask_for_a_key_but_probes_never_do(settings: ServerSettings, file: Path, protected: bool) -> None:
    guarded = settings.model_copy(update={"api_keys": file, "protect_operations": protected})
    with TestClient(create_app(guarded)) as client:
        for path, body in (("/embed", {"inputs": "cat"}), ("/v1/embeddings", {"input": "cat"})):
            refused = client.post(path, json=body)
            assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
            assert client.post(path, json=body, headers={"authorization": "Bearer first-key"}).status_code == 200
        assert client.post("/embed", content=b"not json").status_code == 401, "before the body is looked at"
        assert client.post("/v1/embeddings", json={}).json()["error"]["type"] == "authentication_error"
        assert client.get("/info").status_code == 401
        assert client.get("/v1/models").json()["error"]["type"] == "authentication_error"
        assert client.get("/health").status_code == client.get("/ready").status_code == 200
        for path in ("/metrics", "/docs", "/openapi.json"):
            assert client.get(path).status_code == (401 if protected else 200)
            assert client.get(path, headers={"authorization": "Bearer second-key"}).status_code == 200
        document = client.get("/openapi.json", headers={"authorization": "Bearer first-key"}).json()
        assert document["components"]["securitySchemes"]["ApiKey"]["scheme"] == "bearer"


def test_nobody_needs_a_key_where_there_are_none(settings: ServerSettings) -> None:
    with TestClient(create_app(settings)) as client:
        assert client.post("/embed", json={"inputs": "cat"}).status_code == 200
        assert "security" not in client.get("/openapi.json").json()
