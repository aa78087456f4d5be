"""The OpenAPI document is true: every operation is called with what its schema allows and with what it does not."""

import json
import re
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.clients.conftest import KEY, SERVER_PYTHON, TEXTS
from tests.e2e.conftest import SHIPPED, serve

CONFIG = Path(__file__).with_name("schemathesis.toml")
CALLS = 3_500
"""At least so many of each of the three servers."""
TIGHT = {
    "cache-bytes": 0,
    "max-client-batch-size": 2,
    "max-queue-items": 2,
    "max-queue-tokens": 64,
    "payload-limit": 400,
    "request-timeout": 0.05,
}


def options(settings: dict[str, object]) -> list[str]:
    return [f"--{name}={value}" for name, value in settings.items()]


@pytest.mark.parametrize(
    ("settings", "headers"),
    [
        ({}, {}),
        (TIGHT, {}),
        ({"api-keys": "keys"}, {"Authorization": f"Bearer {KEY}", "Accept": "application/octet-stream"}),
    ],
    ids=["as it comes", "tight limits, no cache", "keys and bytes"],
)
def test_thousands_of_calls_are_answered_as_documented(
    settings: dict[str, object], headers: dict[str, str], tmp_path: Path
) -> None:
    if "api-keys" in settings:
        settings = settings | {"api-keys": tmp_path / "keys"}
        (tmp_path / "keys").write_text(KEY)
    with serve(SHIPPED, tmp_path / "log", *options(settings), python=SERVER_PYTHON) as server:
        before = httpx.post(server.url + "/embed", json={"inputs": TEXTS[0]}, headers=headers)
        report = tmp_path / "report.json"
        command = ["st", "--config-file", CONFIG, "run", server.url + "/openapi.json", "--workers=4", "--seed=1"]
        command += ["--phases=examples,coverage,fuzzing", "--max-examples=400", "--generation-database=none"]
        command += ["--continue-on-failure", "--no-color", "--report=json", f"--report-json-path={report}"]
        command += [part for name, value in headers.items() for part in ("--header", f"{name}: {value}")]
        done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stdout[-20_000:]
        assert json.loads(report.read_text())["test_cases"]["generated"] >= CALLS

        assert httpx.get(server.url + "/health").status_code == httpx.get(server.url + "/ready").status_code == 200
        after = httpx.post(server.url + "/embed", json={"inputs": TEXTS[0]}, headers=headers)
        assert (before.status_code, before.content) == (after.status_code, after.content) == (200, before.content)
        statuses = re.findall(r'_requests_total\{.*status="(\d+)"\} [1-9]', httpx.get(server.url + "/metrics").text)
        assert set(statuses).isdisjoint({"500", "503"})
        assert {"200", "400", "405", "415", "422"} <= set(statuses)
        assert settings is not TIGHT or {"413", "504"} <= set(statuses)
