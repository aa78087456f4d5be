"""Unmodified clients of other servers work with the shipped student."""

import numpy as np
import pytest
from huggingface_hub import InferenceClient
from openai import OpenAI

from tests.e2e.conftest import RunningServer

TEXTS = ["A man is playing a guitar.", "Someone plays an instrument.", "The stock market fell sharply today."]


@pytest.fixture
def vectors(shipped_server: RunningServer) -> np.ndarray:
    return np.array(shipped_server.json("/embed", {"inputs": TEXTS}), dtype=np.float32)


def test_huggingface_feature_extraction(shipped_server: RunningServer, vectors: np.ndarray) -> None:
    client = InferenceClient(model=shipped_server.url + "/embed")
    for text, expected in zip(TEXTS, vectors, strict=True):
        answer = client.feature_extraction(text)
        assert answer.shape == (1, len(expected))
        assert answer.dtype == np.float32
        assert np.allclose(answer[0], expected, atol=1e-2)


def test_huggingface_sentence_similarity(shipped_server: RunningServer) -> None:
    client = InferenceClient(model=shipped_server.url + "/similarity")
    near, far = client.sentence_similarity(TEXTS[0], TEXTS[1:])
    assert 1 >= near > far >= -1


def test_openai_asks_for_base64_by_default(shipped_server: RunningServer, vectors: np.ndarray) -> None:
    client = OpenAI(base_url=shipped_server.url + "/v1", api_key="none")
    answer = client.embeddings.create(model="disco-minilm-l3", input=TEXTS)
    assert [item.index for item in answer.data] == [0, 1, 2]
    assert np.allclose([item.embedding for item in answer.data], vectors, atol=1e-2)
    assert answer.usage.prompt_tokens > len(TEXTS)


def test_openai_floats_and_dimensions(shipped_server: RunningServer) -> None:
    client = OpenAI(base_url=shipped_server.url + "/v1", api_key="none")
    answer = client.embeddings.create(model="x", input=TEXTS[0], encoding_format="float", dimensions=64)
    assert len(answer.data[0].embedding) == 64
    assert np.linalg.norm(answer.data[0].embedding) == pytest.approx(1, abs=1e-4)
