from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from bundle.errors import EmptyInputError, InvalidTextError, InvalidTokensError, TextTooLongError, UnknownPromptError
from bundle.layout import Bundle
from bundle.text import MAX_CHARACTERS_PER_TOKEN, Direction, TextEncoder
from tests.conftest import SPECIAL, WORDS, build_tokenizer

CLS, SEP = SPECIAL.index("[CLS]"), SPECIAL.index("[SEP]")
ENCODER = TextEncoder(build_tokenizer(), max_length=8, prompts={"query": "a ", "title": "the "}, default_prompt="query")

sentences = st.lists(st.sampled_from(WORDS), min_size=1, max_size=20).map(" ".join)
# Not only words: letters of any script, punctuation, controls, white space.
anything = st.one_of(sentences, st.text(min_size=1, max_size=60))


def ids_of(*words: str) -> list[int]:
    return [CLS, *(len(SPECIAL) + WORDS.index(word) for word in words), SEP]


def encode(encoder: TextEncoder, texts: list[str], **options: Any) -> list[list[int]]:
    encoded = encoder.encode(texts, **options)
    assert all(ids.dtype == np.int32 for ids in encoded)
    return [ids.tolist() for ids in encoded]


@settings(deadline=None)
@given(
    texts=st.lists(anything, min_size=1, max_size=4),
    max_length=st.integers(3, 16),
    direction=st.sampled_from(["left", "right"]),
)
def test_the_ids_are_those_of_transformers(texts: list[str], max_length: int, direction: Direction) -> None:
    reference = PreTrainedTokenizerFast(
        tokenizer_object=build_tokenizer(), truncation_side=direction, model_max_length=max_length
    )
    expected = reference(texts, truncation=True, max_length=max_length, return_attention_mask=False)["input_ids"]
    encoder = TextEncoder(build_tokenizer(), max_length=max_length)
    assert encode(encoder, texts, direction=direction) == expected
    assert max(map(len, expected)) <= max_length


@given(st.lists(anything, min_size=2, max_size=5))
def test_a_text_is_encoded_alike_alone_and_in_company(texts: list[str]) -> None:
    assert encode(ENCODER, texts) == [encode(ENCODER, [text])[0] for text in texts]


def test_truncation_keeps_special_tokens_on_either_side() -> None:
    encoder = TextEncoder(build_tokenizer(), max_length=4)
    assert encode(encoder, ["cat dog bird"], direction="right") == [ids_of("cat", "dog")]
    assert encode(encoder, ["cat dog bird"], direction="left") == [ids_of("dog", "bird")]
    assert encode(encoder, ["cat dog"], truncate=False) == [ids_of("cat", "dog")]


def test_prompts_come_first_and_the_named_one_wins() -> None:
    assert encode(ENCODER, ["cat"]) == [ids_of("a", "cat")]
    assert encode(ENCODER, ["cat"], prompt_name="title") == [ids_of("the", "cat")]
    assert encode(TextEncoder(build_tokenizer(), max_length=8), ["cat"]) == [ids_of("cat")]


def test_an_unknown_prompt_is_named_beside_the_known_ones() -> None:
    with pytest.raises(UnknownPromptError, match=r"unknown: 'x+'\. This model's prompts: query, title") as caught:
        ENCODER.encode(["cat"], prompt_name="x" * 1_000)
    assert len(str(caught.value)) < 200
    with pytest.raises(UnknownPromptError, match="prompts: none"):
        TextEncoder(build_tokenizer(), max_length=8).encode(["cat"], prompt_name="")


def test_the_manifest_describes_the_encoder(tiny_bundle: Bundle, tokenizer_file: Path) -> None:
    encoder = TextEncoder.from_bundle(tiny_bundle)
    assert encoder.max_length == 32
    assert encode(encoder, ["cat"], prompt_name="query") == [ids_of("a", "cat")]
    assert encode(encoder, ["cat " * 100]) == [ids_of(*["cat"] * 30)]
    assert encode(TextEncoder.from_file(tokenizer_file, max_length=3), ["cat dog"]) == [ids_of("cat")]


def test_what_the_tokenizer_file_says_of_truncation_and_padding_is_overruled() -> None:
    tokenizer = build_tokenizer()
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=10)
    assert encode(TextEncoder(tokenizer, max_length=8), ["cat dog bird"]) == [ids_of("cat", "dog", "bird")]


@pytest.mark.parametrize("texts", [[], [""], ["cat", ""]])
def test_nothing_to_encode(texts: list[str]) -> None:
    with pytest.raises(EmptyInputError, match="`inputs` cannot be empty"):
        ENCODER.encode(texts)


def test_white_space_is_a_text() -> None:
    assert encode(TextEncoder(build_tokenizer(), max_length=8), ["  \n"]) == [ids_of()]


def test_a_lone_surrogate_is_located_and_nothing_is_echoed() -> None:
    with pytest.raises(InvalidTextError, match="lone surrogate at character 7") as caught:
        ENCODER.encode(["fine", "secret \ud800"])
    assert "secret" not in str(caught.value)
    # The codec's error holds the whole text and would show it in a traceback.
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_too_many_tokens_are_counted() -> None:
    with pytest.raises(TextTooLongError, match=r"at most 8 tokens\. Given: 12") as caught:
        ENCODER.encode(["cat " * 9], truncate=False)
    assert "cat" not in str(caught.value)


class CountingTokenizer:
    """Counts the characters that really reach the tokenizer."""

    def __init__(self) -> None:
        self._tokenizer = build_tokenizer()
        self.longest = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def encode_batch_fast(self, texts: list[str], **options: Any) -> Any:
        self.longest = max(self.longest, *map(len, texts))
        return self._tokenizer.encode_batch_fast(texts, **options)


@pytest.mark.parametrize(("direction", "kept"), [("right", "cat"), ("left", "dog")])
def test_a_huge_text_costs_bounded_time(direction: Direction, kept: str) -> None:
    tokenizer = CountingTokenizer()
    encoder = TextEncoder(tokenizer, max_length=8)
    huge = "cat " * 1_000_000 + " dog" * 1_000_000
    assert encode(encoder, [huge], direction=direction) == [ids_of(*[kept] * 6)]
    assert 0 < tokenizer.longest <= 8 * MAX_CHARACTERS_PER_TOKEN


def test_a_huge_text_is_refused_unread_when_it_must_not_be_cut() -> None:
    tokenizer = CountingTokenizer()
    with pytest.raises(TextTooLongError, match=r"less than 2000 characters\. Given: 4000000"):
        TextEncoder(tokenizer, max_length=8).encode(["cat " * 1_000_000], truncate=False)
    assert tokenizer.longest == 0


def test_tokens_show_how_a_text_is_read() -> None:
    (tokens,) = ENCODER.tokens(["Big cat"])
    assert tokens == [
        (CLS, "[CLS]", True, None, None),
        (len(SPECIAL) + WORDS.index("a"), "a", False, 0, 1),  # the default prompt
        (len(SPECIAL) + WORDS.index("big"), "Big", False, 2, 5),
        (len(SPECIAL) + WORDS.index("cat"), "cat", False, 6, 9),
        (SEP, "[SEP]", True, None, None),
    ]
    (plain,) = ENCODER.tokens(["Big cat"], add_special_tokens=False)
    assert plain == tokens[1:-1]


@given(st.lists(anything, min_size=1, max_size=4))
def test_tokens_are_what_encode_gives_where_nothing_is_cut(texts: list[str]) -> None:
    encoder = TextEncoder(build_tokenizer(), max_length=200)
    assert [[token.id for token in tokens] for tokens in encoder.tokens(texts)] == encode(encoder, texts)


def test_decoding_reverses_encoding() -> None:
    encoder = TextEncoder(build_tokenizer(), max_length=8)
    (ids,) = encoder.encode(["the quick brown cat"])
    assert encoder.decode(ids.tolist()) == "the quick brown cat"
    assert encoder.decode([]) == ""


@pytest.mark.parametrize("invalid", [-1, len(SPECIAL) + len(WORDS), 2**40])
def test_ids_outside_the_vocabulary_are_named(invalid: int) -> None:
    with pytest.raises(InvalidTokensError, match=rf"token id {invalid} is outside the vocabulary of 43"):
        ENCODER.decode([5, invalid])
