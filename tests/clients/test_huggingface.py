"""huggingface_hub as it is now, and the load test of Text Embeddings Inference."""

import asyncio

import httpx
import numpy as np
import pytest
from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import HfHubHTTPError

from tests.clients.conftest import KEY, TEXTS
from tests.e2e.conftest import RunningServer

LONG = " ".join(["Rivers carry silt to the sea, where it settles and slowly becomes stone."] * 32)


@pytest.mark.parametrize("path", ["/embed", "", "/"])
def test_feature_extraction(server: RunningServer, vectors: np.ndarray, path: str) -> None:
    client = InferenceClient(model=server.url + path)
    answers = [client.feature_extraction(text) for text in TEXTS]
    assert all(answer.shape == (1, vectors.shape[1]) for answer in answers)
    assert np.allclose(np.concatenate(answers), vectors)


def test_feature_extraction_with_every_parameter(server: RunningServer, vectors: np.ndarray) -> None:
    client = InferenceClient(model=server.url + "/embed")
    (answer,) = client.feature_extraction(
        TEXTS[0], normalize=True, prompt_name="query", truncate=True, truncation_direction="Left", dimensions=64
    )
    cut = vectors[0, :64] / np.linalg.norm(vectors[0, :64])
    assert np.allclose(answer, cut)  # the shipped student's prompts are empty


def test_feature_extraction_asynchronously(server: RunningServer, vectors: np.ndarray) -> None:
    async def main() -> list[np.ndarray]:
        client = AsyncInferenceClient(model=server.url + "/embed")
        return await asyncio.gather(*(client.feature_extraction(text) for text in TEXTS))

    assert np.allclose(np.concatenate(asyncio.run(main())), vectors, atol=1e-6)


def test_sentence_similarity(server: RunningServer, vectors: np.ndarray) -> None:
    client = InferenceClient(model=server.url + "/similarity")
    assert np.allclose(client.sentence_similarity(TEXTS[0], TEXTS[1:]), vectors[1:] @ vectors[0], atol=1e-6)


def test_an_error_is_told_and_a_key_lets_in(guarded: RunningServer, vectors: np.ndarray) -> None:
    with pytest.raises(HfHubHTTPError, match="401"):
        InferenceClient(model=guarded.url + "/embed", token="wrong").feature_extraction(TEXTS[0])
    client = InferenceClient(model=guarded.url + "/embed", token=KEY)
    assert np.allclose(client.feature_extraction(TEXTS[0])[0], vectors[0])


def test_the_load_test_of_text_embeddings_inference_finds_its_headers(server: RunningServer) -> None:
    """One text of some 500 tokens after the other to `/`, as its k6 script does; it turns the headers into numbers."""
    for _ in range(50):
        answer = httpx.post(server.url + "/", json={"inputs": LONG, "truncate": True})
        assert answer.status_code == 200
        for stage in ("compute", "total", "tokenization", "queue", "inference"):
            assert float(answer.headers[f"x-{stage}-time"]) >= 0
