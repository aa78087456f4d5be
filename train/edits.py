"""Texts with a word or two changed: what a teacher tells apart and a student hears too little of. Knows no files.

A corpus rarely has two sentences that differ in who does what to whom, or in a *not*. The teacher's vector of such a
copy shows the student what the change is worth. Word order and negation are where students fall behind first.
For English; augmentation for distilling as in TinyBERT (1909.10351, section 3.3), by simpler means.
"""

from collections import deque
from collections.abc import Callable, Iterator
from random import Random

VERSION = 1
"""Part of every cache's name: raise it with any change to the copies, or texts meet the vectors of others."""

_REMEMBERED = 1000  # texts that words are borrowed from: those just read, so that they are of the same kind
_LONGEST = 40  # words; a change to a longer text is lost in it
_FUNCTION_WORDS = (
    "a an the is are was were be been being am do does did has have had will would can could may might must shall "
    "should of in on at to and or but nor with for by from as into over under about than then that this these those it "
    "its he she they them his her their there here we us our you your i me my not no so if while when who which what"
)
_AUXILIARIES = "is are was were am can could will would may might must should has have had"
_IS_FUNCTION_WORD = frozenset(_FUNCTION_WORDS.split()).__contains__
_IS_AUXILIARY = frozenset(_AUXILIARIES.split()).__contains__
_ENDINGS = ".,;:!?"

Words = list[str]
Edit = Callable[[Words, deque[Words], Random], Words]


def with_edits(texts: Iterator[str], copies: int) -> Iterator[str]:
    """Each text, followed by up to `copies` altered ones of it; the first n texts alone decide what follows them.

    A copy is left out where a change makes none: a text of one word, or one longer than 40.
    """
    random = Random(0)  # not the recipe's seed: runs of all seeds share what is cached
    earlier = deque[Words](maxlen=_REMEMBERED)
    for text in texts:
        yield text
        words = text.split()
        if len(words) > _LONGEST:
            continue
        for _ in range(copies):
            edited = random.choice(EDITS)(words, earlier, random)
            if edited and edited != words:
                yield " ".join(edited)
        earlier.append(words)


def swap(words: Words, _earlier: deque[Words], random: Random) -> Words:
    """Two content words change places: *a dog chases a cat*, *a cat chases a dog*."""
    places = _content(words)
    if len(places) < 2:
        return words
    first, second = random.sample(places, 2)
    edited = list(words)
    edited[first], edited[second] = _put(words[second], words[first]), _put(words[first], words[second])
    return edited


def replace(words: Words, earlier: deque[Words], random: Random) -> Words:
    """A content word, sometimes two, becomes one of another text."""
    places = _content(words)
    edited = list(words)
    for place in random.sample(places, min(len(places), random.choice((1, 1, 2)))):
        if earlier and (others := _content(other := random.choice(earlier))):
            edited[place] = _put(other[random.choice(others)], words[place])
    return edited


def negate(words: Words, _earlier: deque[Words], _random: Random) -> Words:
    """A *not* more or less behind the first auxiliary, or *there is no* instead of the article it begins with."""
    for place, word in enumerate(words):
        if _IS_AUXILIARY(word.lower()):
            before, behind = words[: place + 1], words[place + 1 :]
            return before + behind[1:] if behind[:1] == ["not"] else [*before, "not", *behind]
    return ["There", "is", "no", *words[1:]] if words and words[0].lower() in {"a", "an", "the"} else words


def drop(words: Words, _earlier: deque[Words], random: Random) -> Words:
    """One to three words in a row are left out."""
    if len(words) < 5:
        return words
    count = random.randint(1, 3)
    start = random.randrange(len(words) - count + 1)
    return words[:start] + words[start + count :]


def splice(words: Words, earlier: deque[Words], random: Random) -> Words:
    """Its first half, and the second half of another text."""
    if not earlier:
        return words
    other = random.choice(earlier)
    return words[: (len(words) + 1) // 2] + other[len(other) // 2 :]


EDITS: tuple[Edit, ...] = (swap, replace, negate, drop, splice)


def _content(words: Words) -> list[int]:
    """Where there are words that stand for something."""
    bare = [word.strip(_ENDINGS).lower() for word in words]
    return [place for place, word in enumerate(bare) if word and not _IS_FUNCTION_WORD(word)]


def _put(word: str, place: str) -> str:
    """`word` with the punctuation that the word in its new place had."""
    return word.rstrip(_ENDINGS) + place[len(place.rstrip(_ENDINGS)) :]
