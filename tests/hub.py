"""A stand-in for the model hub: as much of its HTTP interface as publishing and downloading a model takes.

Large files go through Git LFS there, small ones inside the commit; a commit lands whole or not at all.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

TOKEN = "hf_stand_in"
_COMMIT = "0" * 40
_LARGE = (".onnx", ".safetensors")


@dataclass
class Hub:
    """What was published, by model id and file name, and who asked for what."""

    endpoint: str = ""
    models: dict[str, dict[str, bytes]] = field(default_factory=dict)
    private: set[str] = field(default_factory=set)
    stored: dict[str, bytes] = field(default_factory=dict)
    """Large files by SHA-256, before a commit names them."""
    requests: list[str] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """What makes huggingface_hub, in a process of its own, take this for the hub."""
        return {"HF_ENDPOINT": self.endpoint, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}


@contextmanager
def running_hub() -> Iterator[Hub]:
    """Serve a hub on loopback while the block lasts."""
    hub = Hub()

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        pass

    def do_HEAD(self) -> None:
        self._hand_out(with_content=False)

    def do_GET(self) -> None:
        self._note()
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/\w+)?", self._path):
            files = self.hub.models.get(found[1])
            if files is None:
                return self._answer(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            siblings = [{"rfilename": name} for name in sorted(files)]
            return self._answer(200, {"id": found[1], "sha": _COMMIT, "siblings": siblings, "tags": []})
        return self._hand_out(with_content=True)

    def do_PUT(self) -> None:
        self._note()
        content = self._body()
        assert self._path == f"/storage/{hashlib.sha256(content).hexdigest()}"
        self.hub.stored[self._path.rpartition("/")[2]] = content
        self._answer(200, {})

    def do_POST(self) -> None:
        self._note()
        body = self._body()
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._answer(401, {"error": "Invalid username or password."})
        if self._path == "/api/repos/create":
            return self._create(json.loads(body))
        if self._path == "/api/validate-yaml":
            return self._answer(200, {"errors": [], "warnings": []})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/main", self._path):
            return self._answer(200, {"files": [_mode(file) for file in json.loads(body)["files"]]})
        if self._path.endswith(".git/info/lfs/objects/batch"):
            return self._answer(
                200, {"transfer": "basic", "objects": [self._slot(o) for o in json.loads(body)["objects"]]}
            )
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", self._path):
            return self._commit(found[1], [json.loads(line) for line in body.splitlines()])
        return self._answer(404, {"error": f"the stand-in does not know {self._path}"})

    def _create(self, wanted: dict[str, Any]) -> None:
        model = f"{wanted['organization']}/{wanted['name']}"
        if model in self.hub.models:
            return self._answer(409, {"url": f"{self.hub.endpoint}/{model}", "error": "exists already"})
        self.hub.models[model] = {}
        if wanted.get("private"):
            self.hub.private.add(model)
        return self._answer(200, {"url": f"{self.hub.endpoint}/{model}"})

    def _slot(self, wanted: dict[str, Any]) -> dict[str, Any]:
        upload = {"upload": {"href": f"{self.hub.endpoint}/storage/{wanted['oid']}"}}
        return {"oid": wanted["oid"], "size": wanted["size"], "actions": upload}

    def _commit(self, model: str, lines: list[dict[str, Any]]) -> None:
        files = {}
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.stored[value["oid"]]
        self.hub.models[model] |= files
        self._answer(200, {"commitUrl": f"{self.hub.endpoint}/{model}/commit/{_COMMIT}", "commitOid": _COMMIT})

    def _hand_out(self, *, with_content: bool) -> None:
        found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/\w+/(.+)", self._path)
        content = self.hub.models.get(found[1], {}).get(found[2]) if found else None
        if content is None:
            return self._answer(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
        headers = {
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X-Repo-Commit": _COMMIT,
            "Accept-Ranges": "bytes",
        }
        if part := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or ""):
            first, last = int(part[1]), int(part[2] or len(content) - 1)
            headers["Content-Range"] = f"bytes {first}-{min(last, len(content) - 1)}/{len(content)}"
            return self._send(206, content[first : last + 1], headers, with_content=with_content)
        return self._send(200, content, headers, with_content=with_content)

    def _answer(self, status: int, content: object, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(content).encode(), headers or {}, with_content=self.command != "HEAD")

    def _send(self, status: int, content: bytes, headers: dict[str, str], *, with_content: bool) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        if with_content:
            self.wfile.write(content)

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _note(self) -> None:
        self.hub.requests.append(f"{self.command} {self._path}")

    @property
    def _path(self) -> str:
        return self.path.partition("?")[0]


def _mode(file: dict[str, Any]) -> dict[str, Any]:
    large = file["path"].endswith(_LARGE)
    return {"path": file["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
