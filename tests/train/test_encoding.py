from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from train import encoding
from train.encoding import encode_in_parallel

TEXTS = ["short", "a somewhat longer text", "", "one that is longer than all of the others are", "short"]


@pytest.fixture
def model(tiny_teacher: Path) -> SentenceTransformer:
    loaded: SentenceTransformer = SentenceTransformer(str(tiny_teacher), device="cpu")
    return loaded


@pytest.mark.parametrize("characters", [1, 40, 8192])
def test_however_they_are_batched_vectors_are_those_of_the_library_in_the_order_of_the_texts(
    model: SentenceTransformer, monkeypatch: pytest.MonkeyPatch, characters: int
) -> None:
    monkeypatch.setattr(encoding, "_BATCH_CHARACTERS", characters)
    expected = model.encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(encode_in_parallel(model, TEXTS), expected, atol=1e-6)


def test_the_number_of_threads_is_what_it_was_before(model: SentenceTransformer) -> None:
    before = torch.get_num_threads()
    encode_in_parallel(model, TEXTS)
    assert torch.get_num_threads() == before
