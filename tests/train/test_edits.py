"""Edited copies: what each edit does, and that texts alone decide about them."""

from collections import deque
from hashlib import sha256
from itertools import islice
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.edits import EDITS, VERSION, Edit, drop, negate, replace, splice, swap, with_edits

words = st.lists(
    st.sampled_from(["A", "dog", "is", "chasing", "the", "small", "cat,", "and", "a", "man", "sleeps", "here."]),
    max_size=12,
)
EARLIER = deque([["Two", "women", "dance."]])


@given(words=words, seed=st.integers(0, 99))
def test_swapping_keeps_the_words_and_all_but_two_of_their_places(words: list[str], seed: int) -> None:
    edited = swap(words, deque(), Random(seed))
    assert sorted(word.strip(".,") for word in edited) == sorted(word.strip(".,") for word in words)
    assert sum(old.strip(".,") != new.strip(".,") for old, new in zip(words, edited, strict=True)) in (0, 2)


def test_swapping_leaves_function_words_and_punctuation_where_they_are() -> None:
    assert swap(["the", "dog", "sees", "a", "cat."], deque(), Random(0))[0::3] == ["the", "a"]
    for seed in range(9):
        assert swap(["dogs", "bark."], deque(), Random(seed)) == ["bark", "dogs."]


def test_replacing_takes_words_of_earlier_texts() -> None:
    taken = {replace(["A", "dog."], EARLIER, Random(seed))[1] for seed in range(20)}
    assert taken == {"women.", "dance.", "Two."}
    assert replace(["A", "dog."], deque(), Random(0)) == ["A", "dog."]
    assert replace(["A", "dog."], deque([["the"]]), Random(0)) == ["A", "dog."]


@pytest.mark.parametrize(
    ("text", "negated"),
    [
        ("A dog is here.", "A dog is not here."),
        ("We can go and will", "We can not go and will"),
        ("A dog is not here.", "A dog is here."),
        ("A dog in a boat", "There is no dog in a boat"),
        ("dogs bark", "dogs bark"),
        ("", ""),
    ],
)
def test_negating(text: str, negated: str) -> None:
    assert negate(text.split(), deque(), Random(0)) == negated.split()


@given(count=st.integers(0, 12), seed=st.integers(0, 99))
def test_dropping_leaves_a_beginning_and_an_end(count: int, seed: int) -> None:
    text = [str(number) for number in range(count)]
    left = drop(text, deque(), Random(seed))
    assert len(text) - len(left) in ((1, 2, 3) if count >= 5 else (0,))
    gap = next((place for place, word in enumerate(left) if word != text[place]), len(left))
    assert left == text[:gap] + text[gap + len(text) - len(left) :]


def test_splicing_joins_two_halves() -> None:
    assert splice(["A", "dog", "sleeps"], EARLIER, Random(0)) == ["A", "dog", "women", "dance."]
    assert splice(["A"], deque(), Random(0)) == ["A"]


@given(texts=st.lists(st.text(alphabet="ab is.", max_size=60), max_size=30), copies=st.integers(1, 3))
def test_texts_stay_and_what_comes_later_changes_nothing(texts: list[str], copies: int) -> None:
    produced = list(with_edits(iter(texts), copies))
    for part in range(len(texts)):
        start = list(with_edits(iter(texts[:part]), copies))
        assert produced[: len(start)] == start
    rest = iter(produced)
    assert all(text in rest for text in texts), "each is there, in order"
    assert len(produced) <= len(texts) * (1 + copies)


def test_copies_are_as_many_as_wanted_and_none_is_the_text_itself() -> None:
    texts = [f"The number {number} is larger than all those before it." for number in range(50)]
    produced = list(with_edits(iter(texts), 4))
    assert 200 <= len(produced) <= 250
    for text, following in zip(texts, islice(texts, 1, None), strict=False):
        between = produced[produced.index(text) + 1 : produced.index(following)]
        assert 0 < len(between) <= 4
        assert text not in between
    assert produced == list(with_edits(iter(texts), 4))


def test_white_space_alone_makes_no_copy() -> None:
    spaced = ["dogs  bark   today"] * 20
    copies = [text.split() for text in with_edits(iter(spaced), 1) if text != spaced[0]]
    assert copies
    assert ["dogs", "bark", "today"] not in copies


def test_punctuation_by_itself_is_no_word_to_move() -> None:
    dashed = ["A", "dog", ".", "sleeps", "!"]
    for seed in range(30):
        assert swap(dashed, deque(), Random(seed)) == ["A", "sleeps", ".", "dog", "!"]
        assert replace(["A", "dog", "."], deque([["?", "cats"]]), Random(seed)) == ["A", "cats", "."]


def test_the_version_is_of_these_very_copies() -> None:
    texts = [f"The small dog number {number} is chasing a cat, or not." for number in range(100)]
    found = sha256("\n".join(with_edits(iter(texts), 3)).encode()).hexdigest()[:8]
    assert (VERSION, found) == (1, "d90329fa"), "other copies want another VERSION: caches know no more"


def test_what_is_too_long_or_too_short_has_no_copies() -> None:
    long = ["a dog is here " * 11] * 2
    assert list(with_edits(iter(long), 9)) == long
    assert list(with_edits(iter(["Hello"]), 9)) == ["Hello"]


@pytest.mark.parametrize("edit", EDITS)
def test_no_edit_minds_odd_texts(edit: Edit) -> None:
    for text in ("", "word", "the", "...", "a . b", "不 不"):
        for seed in range(20):
            edit(text.split(), EARLIER, Random(seed))
            edit(text.split(), deque([[]]), Random(seed))
