"""The JavaScript clients of OpenAI and Hugging Face."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.clients.conftest import TEXTS
from tests.e2e.conftest import RunningServer


@pytest.fixture(scope="module")
def found(server: RunningServer) -> Any:
    script = Path(__file__).with_name("clients.cjs")
    command = ["node", script, server.url, json.dumps(TEXTS)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("client", ["openai", "openaiFloat", "huggingface"])
def test_vectors(found: Any, vectors: np.ndarray, client: str) -> None:
    assert np.allclose(found[client], vectors)


def test_similarity(found: Any, vectors: np.ndarray) -> None:
    assert np.allclose(found["similarity"], vectors[1:] @ vectors[0], atol=1e-6)


def test_errors_are_openais(found: Any) -> None:
    assert found["openaiError"] == {"name": "BadRequestError", "status": 400, "code": "empty"}
