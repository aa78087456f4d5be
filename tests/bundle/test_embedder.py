from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle.arrays import Ids, Offsets, Vectors
from bundle.embedder import TOKEN_BUDGET, Embedder
from bundle.errors import EmptyInputError
from bundle.layout import Bundle
from bundle.text import TextEncoder
from tests.conftest import WORDS, build_tokenizer

sentences = st.lists(st.sampled_from(WORDS), min_size=1, max_size=40).map(" ".join)


@pytest.fixture(scope="module")
def embedder(tiny_bundle: Bundle) -> Embedder:
    return Embedder.from_bundle(tiny_bundle)


@settings(deadline=None)
@given(st.lists(sentences, min_size=1, max_size=30))
def test_many_at_once_are_the_same_as_one_by_one_and_in_order(embedder: Embedder, texts: list[str]) -> None:
    vectors = embedder.embed(texts)
    assert vectors.dtype == np.float32
    one_by_one = np.concatenate([embedder.embed([text]) for text in texts])
    np.testing.assert_allclose(vectors, one_by_one, atol=1e-6)


def test_prompts_change_vectors(embedder: Embedder) -> None:
    with_prompt = embedder.embed(["cat"], prompt_name="query")
    np.testing.assert_allclose(with_prompt, embedder.embed(["a cat"]), atol=1e-6)
    assert not np.allclose(with_prompt, embedder.embed(["cat"]))


def test_no_texts_are_refused(embedder: Embedder) -> None:
    with pytest.raises(EmptyInputError):
        embedder.embed([])


class CountingEncoder:
    """An encoder whose vectors are the texts' lengths, and which remembers its batches."""

    dimension = 1
    description = "counts"

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def cost(self, lengths: Sequence[int]) -> int:
        return len(lengths) * max(lengths)

    def encode(self, _ids: Ids, offsets: Offsets) -> Vectors:
        lengths = np.diff(offsets)
        self.batches.append(lengths.tolist())
        return lengths[:, None].astype(np.float32)


@given(st.lists(st.integers(1, 2_000), min_size=1, max_size=60))
def test_batches_are_sorted_bounded_and_as_few_as_that_allows(word_counts: list[int]) -> None:
    encoder = CountingEncoder()
    embedder = Embedder(TextEncoder(build_tokenizer(), max_length=1_500), encoder)
    vectors = embedder.embed(["cat " * count for count in word_counts])
    assert vectors[:, 0].tolist() == [min(count + 2, 1_500) for count in word_counts]
    flat = [length for batch in encoder.batches for length in batch]
    assert flat == sorted(flat)
    for batch in encoder.batches:
        assert len(batch) == 1 or encoder.cost(batch) <= TOKEN_BUDGET
    for batch, following in zip(encoder.batches, encoder.batches[1:], strict=False):
        assert encoder.cost([*batch, following[0]]) > TOKEN_BUDGET
