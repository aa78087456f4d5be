"""openai for Python as it is now, and langchain, which stands on it."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import openai
import pytest
from langchain_openai import OpenAIEmbeddings
from openai import AsyncOpenAI, OpenAI

from tests.clients.conftest import KEY, TEXTS
from tests.e2e.conftest import RunningServer


@pytest.fixture
def client(server: RunningServer) -> OpenAI:
    return OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0)


def test_base64_is_the_default(client: OpenAI, vectors: np.ndarray) -> None:
    answer = client.embeddings.create(model="disco", input=TEXTS)
    assert [item.index for item in answer.data] == [0, 1, 2]
    assert np.allclose([item.embedding for item in answer.data], vectors)
    assert answer.usage.total_tokens == answer.usage.prompt_tokens > len(TEXTS)


def test_floats_and_dimensions(client: OpenAI, vectors: np.ndarray) -> None:
    answer = client.embeddings.create(model="disco", input=TEXTS[0], encoding_format="float", dimensions=64)
    cut = vectors[0, :64] / np.linalg.norm(vectors[0, :64])
    assert np.allclose(answer.data[0].embedding, cut)


def test_many_at_once_and_asynchronously(server: RunningServer, vectors: np.ndarray) -> None:
    async def main() -> list[list[float]]:
        async with AsyncOpenAI(base_url=server.url + "/v1", api_key="none") as client:
            calls = [client.embeddings.create(model="disco", input=text) for text in TEXTS * 10]
            return [answer.data[0].embedding for answer in await asyncio.gather(*calls)]

    assert np.allclose(asyncio.run(main()), np.tile(vectors, (10, 1)), atol=1e-6)


def test_the_model_is_listed(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["disco-minilm-l3"]
    assert client.models.list().data[0].owned_by == "disco"


def test_errors_are_openais(client: OpenAI, guarded: RunningServer) -> None:
    with pytest.raises(openai.BadRequestError, match="cannot be empty") as empty:
        client.embeddings.create(model="disco", input="")
    assert (empty.value.type, empty.value.code) == ("invalid_request_error", "empty")
    with pytest.raises(openai.UnprocessableEntityError, match="maximum embedding dimension"):
        client.embeddings.create(model="disco", input="a", dimensions=100_000)
    strange = OpenAI(base_url=guarded.url + "/v1", api_key="wrong", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        strange.embeddings.create(model="disco", input="a")
    with pytest.raises(openai.AuthenticationError) as refused:
        strange.models.list()
    assert refused.value.type == "authentication_error"
    assert OpenAI(base_url=guarded.url + "/v1", api_key=KEY).models.list().data


def test_a_refused_request_is_sent_again_when_the_server_says(narrow: RunningServer, vectors: np.ndarray) -> None:
    client = OpenAI(base_url=narrow.url + "/v1", api_key="none", max_retries=60)

    def embed(text: str) -> tuple[int, list[float]]:
        raw = client.embeddings.with_raw_response.create(model="disco", input=text)
        return raw.retries_taken, raw.parse().data[0].embedding

    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(embed, TEXTS * 8))
    assert sum(retries for retries, _ in answers) > 0
    assert np.allclose([vector for _, vector in answers], np.tile(vectors, (8, 1)), atol=1e-6)


def test_langchain(server: RunningServer, vectors: np.ndarray) -> None:
    client = OpenAIEmbeddings(
        base_url=server.url + "/v1", api_key="none", model="disco", check_embedding_ctx_length=False
    )
    assert np.allclose(client.embed_documents(TEXTS), vectors)
    assert np.allclose(client.embed_query(TEXTS[0]), vectors[0])
    assert np.allclose(asyncio.run(client.aembed_documents(TEXTS)), vectors)
