"""Texts of three lengths that no system truncates, and how many tokens they are. Knows no HTTP."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Literal, TypeAlias

from tokenizers import Tokenizer

from loadtest.corpus import MOST_TEXTS, generate_texts

Length: TypeAlias = Literal["short", "mixed", "long"]
SHORT_TOKENS, LONG_TOKENS = 16, 256
"""Special tokens included. The model reads no more than the latter."""
_LONG_TEXTS = 1_000


@dataclass(frozen=True)
class Texts:
    """Texts, in the order in which they are sent."""

    texts: list[str]
    tokens: list[int]
    """Of each, special tokens included."""

    def tokens_of_first(self, count: int) -> int:
        """The tokens of the first `count` texts that are sent; after the last text the first one follows."""
        sums = list(accumulate(self.tokens, initial=0))
        rounds, rest = divmod(count, len(self.tokens))
        return rounds * sums[-1] + sums[rest]


def make_texts(tokenizer_file: Path, *, seed: int) -> dict[Length, Texts]:
    """`short` has at most 16 tokens a text, `long` just 256, `mixed` all lengths up to that."""
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    generated = _count(tokenizer, generate_texts(MOST_TEXTS, seed=seed))
    words = iter(" ".join(generated.texts).split())
    long = [_cut(tokenizer, [next(words) for _ in range(LONG_TOKENS)]) for _ in range(_LONG_TEXTS)]
    return {
        "short": _keep(generated, lambda tokens: tokens <= SHORT_TOKENS),
        "mixed": _keep(generated, lambda tokens: tokens <= LONG_TOKENS),
        "long": _count(tokenizer, long),
    }


def _count(tokenizer: Tokenizer, texts: list[str]) -> Texts:
    return Texts(texts, [len(encoding.ids) for encoding in tokenizer.encode_batch(texts)])


def _keep(texts: Texts, is_kept: Callable[[int], bool]) -> Texts:
    kept = [i for i, tokens in enumerate(texts.tokens) if is_kept(tokens)]
    return Texts([texts.texts[i] for i in kept], [texts.tokens[i] for i in kept])


def _cut(tokenizer: Tokenizer, words: list[str]) -> str:
    """The first words that make `LONG_TOKENS` tokens; every word makes one at least."""
    text = " ".join(words)
    _, end = tokenizer.encode(text).offsets[LONG_TOKENS - 2]  # the last token but the closing special one
    return text[:end]
