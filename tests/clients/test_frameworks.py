"""Frameworks that know Text Embeddings Inference: llama-index, haystack, chromadb."""

import asyncio

import numpy as np
import pytest
from chromadb.utils.embedding_functions import HuggingFaceEmbeddingServer
from haystack import Document
from haystack.utils import Secret
from haystack_integrations.components.embedders.huggingface_api import (
    HuggingFaceAPIDocumentEmbedder,
    HuggingFaceAPITextEmbedder,
)
from llama_index.embeddings.text_embeddings_inference import TextEmbeddingsInference

from tests.clients.conftest import KEY, TEXTS
from tests.e2e.conftest import RunningServer


def test_llama_index(guarded: RunningServer, vectors: np.ndarray) -> None:
    client = TextEmbeddingsInference(model_name="disco", base_url=guarded.url, auth_token=KEY)
    assert np.allclose(client.get_text_embedding_batch(TEXTS), vectors)
    assert np.allclose(client.get_query_embedding(TEXTS[0]), vectors[0])
    assert np.allclose(asyncio.run(client.aget_text_embedding(TEXTS[1])), vectors[1])


def test_haystack(guarded: RunningServer, vectors: np.ndarray) -> None:
    place = {"api_type": "text_embeddings_inference", "api_params": {"url": guarded.url}}
    token = Secret.from_token(KEY)
    found = HuggingFaceAPITextEmbedder(**place, token=token).run(text=TEXTS[0])
    assert np.allclose(found["embedding"], vectors[0])
    documents = [Document(content=text) for text in TEXTS]
    embedded = HuggingFaceAPIDocumentEmbedder(**place, token=token).run(documents=documents)["documents"]
    assert np.allclose([document.embedding for document in embedded], vectors)


def test_chromadb(guarded: RunningServer, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISCO_KEY", KEY)
    client = HuggingFaceEmbeddingServer(url=guarded.url + "/embed", api_key_env_var="DISCO_KEY")
    assert np.allclose(client(TEXTS), vectors)
