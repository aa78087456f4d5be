import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bundle.text import TextEncoder
from train import corpus
from train.corpus import TextMixture, TokenizedPairs, TokenizedTexts, VectorMixture, tokenize_source
from train.data import read_source
from train.sources import Pairs, Texts


def test_rows_are_what_the_bundle_would_read(tokenizer_file: Path, texts_file: Path) -> None:
    made = tokenize_source(Texts(path=str(texts_file)), None, tokenizer_file, max_length=8)
    expected = TextEncoder.from_file(tokenizer_file, max_length=8).encode(texts_file.read_text().splitlines())
    assert len(made) == len(expected)
    assert all(np.array_equal(row, made[i]) for i, row in enumerate(expected))
    assert made.lengths.tolist() == [len(row) for row in expected]
    assert made.lengths.max() == 8


def test_a_prompt_is_read_before_every_text(tokenizer_file: Path, texts_file: Path) -> None:
    source = Texts(path=str(texts_file))
    plain, prompted = (
        tokenize_source(source, None, tokenizer_file, max_length=8, prompt=prompt) for prompt in ("", "the cat ")
    )
    texts = ["the cat " + text for text in texts_file.read_text().splitlines()]
    expected = TextEncoder.from_file(tokenizer_file, max_length=8).encode(texts)
    assert all(np.array_equal(row, prompted[i]) for i, row in enumerate(expected))
    assert len(plain) == len(prompted)
    assert plain.lengths.sum() < prompted.lengths.sum()


def test_a_second_run_opens_what_the_first_one_wrote(
    tokenizer_file: Path, texts_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Texts(path=str(texts_file))
    first = tokenize_source(source, None, tokenizer_file, max_length=8)
    monkeypatch.setattr(corpus, "read_source", None)
    again = tokenize_source(source, None, tokenizer_file, max_length=8)
    assert np.array_equal(first.ids, again.ids)


def test_other_text_is_never_taken_from_the_cache(tokenizer_file: Path, texts_file: Path) -> None:
    source = Texts(path=str(texts_file))
    tokenize_source(source, None, tokenizer_file, max_length=8)
    texts_file.write_text("the cat sat\n")
    assert len(tokenize_source(source, None, tokenizer_file, max_length=8)) == 1


def test_runs_at_once_tokenise_a_source_once(
    tokenizer_file: Path, texts_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Texts(path=str(texts_file))
    read: list[Any] = []

    def slowly(*arguments: Any) -> Iterator[str]:
        read.append(arguments)
        time.sleep(0.2)  # long enough for the others to come while it lasts
        return read_source(*arguments)

    monkeypatch.setattr(corpus, "read_source", slowly)
    with ThreadPoolExecutor(3) as runs:
        made = list(runs.map(lambda _: tokenize_source(source, None, tokenizer_file, max_length=8), range(3)))
    assert len(read) == 1
    assert all(np.array_equal(one.ids, made[0].ids) for one in made)


def tokenized(lengths: list[int]) -> TokenizedTexts:
    """Text i of the part is `lengths[i]` times the number i."""
    return TokenizedTexts(np.repeat(np.arange(len(lengths)), lengths).astype(np.int32), np.cumsum([0, *lengths]))


def test_a_mixture_numbers_its_parts_one_after_the_other() -> None:
    pieces = [tokenized([4, 2, 7]), tokenized([3]), tokenized([1, 1, 5, 2, 9])]
    mixture = TextMixture(pieces)
    rows = [piece[i] for piece in pieces for i in range(len(piece))]
    assert len(mixture) == len(rows) == 9
    assert all(np.array_equal(mixture[i], row) for i, row in enumerate(rows))
    assert mixture.lengths.tolist() == [len(row) for row in rows]


def test_pairs_number_their_texts_as_they_were_read() -> None:
    pairs = TokenizedPairs([tokenized([4, 2, 7, 1, 1, 3]), tokenized([5, 6, 9, 8])], widths=[3, 2])
    assert pairs.columns.tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, -1], [8, 9, -1]]
    assert pairs.longest.tolist() == [7, 3, 6, 9]
    assert len(pairs) == 4
    assert pairs.texts[7].tolist() == [1] * 6


def test_texts_of_pairs_are_read_one_after_the_other(tokenizer_file: Path, pairs_file: Path) -> None:
    made = tokenize_source(Pairs(path=str(pairs_file), limit=7), None, tokenizer_file, max_length=8)
    texts = [text for row in pairs_file.read_text().splitlines()[1:8] for text in row.split("\t")]
    expected = TextEncoder.from_file(tokenizer_file, max_length=8).encode(texts)
    assert [made[i].tolist() for i in range(len(made))] == [row.tolist() for row in expected]
    other = tokenize_source(
        Pairs(path=str(pairs_file), columns=("negative", "anchor"), limit=7), None, tokenizer_file, max_length=8
    )
    assert other[0].tolist() == expected[2].tolist()
    assert len(other) == 14


def test_vectors_follow_the_same_numbers() -> None:
    pieces = [np.full((count, 2), value, dtype=np.float16) for count, value in ((3, 0), (1, 1), (5, 2))]
    mixture = VectorMixture(pieces)
    assert mixture[np.array([8, 0, 3, 2, 4])].tolist() == [[2, 2], [0, 0], [1, 1], [0, 0], [2, 2]]
    assert mixture.dimension == 2
