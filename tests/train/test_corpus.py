from pathlib import Path

import numpy as np
import pytest

from bundle.text import TextEncoder
from tests.train.conftest import sentences
from train import corpus
from train.config import Texts
from train.corpus import TextMixture, TokenizedTexts, VectorMixture, tokenize_source, tokenize_texts


def test_rows_are_what_the_bundle_would_read(tokenizer_file: Path, texts_file: Path) -> None:
    made = tokenize_source(Texts(path=str(texts_file)), None, tokenizer_file, max_length=8)
    expected = TextEncoder.from_file(tokenizer_file, max_length=8).encode(texts_file.read_text().splitlines())
    assert len(made) == len(expected)
    assert all(np.array_equal(row, made[i]) for i, row in enumerate(expected))
    assert made.lengths.tolist() == [len(row) for row in expected]
    assert made.lengths.max() == 8


def test_a_second_run_opens_what_the_first_one_wrote(
    tokenizer_file: Path, texts_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Texts(path=str(texts_file))
    first = tokenize_source(source, None, tokenizer_file, max_length=8)
    monkeypatch.setattr(corpus, "read_texts", None)
    again = tokenize_source(source, None, tokenizer_file, max_length=8)
    assert np.array_equal(first.ids, again.ids)


def test_other_text_is_never_taken_from_the_cache(tokenizer_file: Path, texts_file: Path) -> None:
    source = Texts(path=str(texts_file))
    tokenize_source(source, None, tokenizer_file, max_length=8)
    texts_file.write_text("the cat sat\n")
    assert len(tokenize_source(source, None, tokenizer_file, max_length=8)) == 1


def parts(tokenizer_file: Path) -> list[TokenizedTexts]:
    encoder = TextEncoder.from_file(tokenizer_file, max_length=16)
    return [tokenize_texts(sentences(count, seed=count), encoder) for count in (3, 1, 5)]


def test_a_mixture_numbers_its_parts_one_after_the_other(tokenizer_file: Path) -> None:
    pieces = parts(tokenizer_file)
    mixture = TextMixture(pieces)
    rows = [piece[i] for piece in pieces for i in range(len(piece))]
    assert len(mixture) == len(rows) == 9
    assert all(np.array_equal(mixture[i], row) for i, row in enumerate(rows))
    assert mixture.lengths.tolist() == [len(row) for row in rows]


def test_vectors_follow_the_same_numbers() -> None:
    pieces = [np.full((count, 2), value, dtype=np.float16) for count, value in ((3, 0), (1, 1), (5, 2))]
    mixture = VectorMixture(pieces)
    assert mixture[np.array([8, 0, 3, 2, 4])].tolist() == [[2, 2], [0, 0], [1, 1], [0, 0], [2, 2]]
    assert mixture.dimension == 2
