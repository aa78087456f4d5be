from itertools import pairwise
from pathlib import Path

from bundle.text import TextEncoder
from export.samples import ladder, sentences


def test_lengths_climb_to_the_longest(tokenizer_file: Path) -> None:
    encoder = TextEncoder.from_file(tokenizer_file, max_length=32)
    lengths = [len(ids) for ids in encoder.encode(ladder(encoder))]
    assert all(later >= earlier - 2 for earlier, later in pairwise(lengths)), "words cost a token or three"
    assert (lengths[0], lengths[-1]) == (3, 32)
    assert len(set(lengths)) > 25


def test_one_text_is_far_too_long(tokenizer_file: Path) -> None:
    encoder = TextEncoder.from_file(tokenizer_file, max_length=32)
    whole = TextEncoder.from_file(tokenizer_file, max_length=10_000)
    assert max(len(ids) for ids in whole.encode(ladder(encoder))) >= 64


def test_sentences_are_distinct_and_not_empty() -> None:
    found = sentences()
    assert len(set(found)) == len(found) > 100
    assert all(found)
