"""Text → token ids: the only definition of encoding, shared by training, export and serving.

Owns prompts, truncation and special tokens; knows neither graphs nor vectors.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from tokenizers import Encoding, Tokenizer

from bundle.arrays import Ids
from bundle.errors import EmptyInputError, InvalidTextError, InvalidTokensError, TextTooLongError, UnknownPromptError
from bundle.layout import Bundle

Direction = Literal["left", "right"]

# No tokenizer needs more: a longer text is cut before it is tokenised, so that a huge body costs bounded time
# (the same bound as Text Embeddings Inference).
MAX_CHARACTERS_PER_TOKEN = 250


class Token(NamedTuple):
    """One token of a text; `start` and `stop` are character positions, None for a special token."""

    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None


class TextEncoder:
    """Turns texts into token ids exactly as the student was trained to read them. Safe to share between threads."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        max_length: int,
        prompts: dict[str, str] | None = None,
        default_prompt: str | None = None,
    ) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._tokenizer = tokenizer
        self.max_length = max_length
        self.prompts = prompts or {}
        self.default_prompt = default_prompt
        self.vocabulary_size: int = tokenizer.get_vocab_size(with_added_tokens=True)
        self._prefix, self._suffix = _special_token_counts(tokenizer)

    @classmethod
    def from_file(cls, tokenizer_file: Path, *, max_length: int) -> "TextEncoder":
        """Read a `tokenizer.json`."""
        return cls(Tokenizer.from_file(str(tokenizer_file)), max_length=max_length)

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> "TextEncoder":
        """The encoder that the manifest of `bundle` describes."""
        manifest = bundle.manifest
        return cls(
            Tokenizer.from_file(str(bundle.tokenizer_file)),
            max_length=manifest.max_length,
            prompts=manifest.prompts,
            default_prompt=manifest.default_prompt,
        )

    def encode(
        self,
        texts: Sequence[str],
        *,
        truncate: bool = True,
        direction: Direction = "right",
        prompt_name: str | None = None,
    ) -> list[Ids]:
        """Encode each text to ids with special tokens, if it has any: one int32[length ≤ `max_length`] per text.

        `direction` is the side that truncation cuts from. `prompt_name` overrides the default prompt.

        Raises:
            EmptyInputError: no texts, or an empty one.
            InvalidTextError: a text holds a lone surrogate.
            TextTooLongError: more than `max_length` tokens and `truncate` is false.
            UnknownPromptError: no such prompt in the bundle.
        """
        if not texts:
            raise EmptyInputError("`inputs` cannot be empty")
        prompt = self._prompt(prompt_name)
        prepared = [self._prepare(text, prompt, truncate=truncate, direction=direction) for text in texts]
        encodings = self._tokenizer.encode_batch_fast(prepared, add_special_tokens=True)
        return [self._fit(np.array(e.ids, dtype=np.int32), truncate=truncate, direction=direction) for e in encodings]

    def tokens(
        self, texts: Sequence[str], *, add_special_tokens: bool = True, prompt_name: str | None = None
    ) -> list[list[Token]]:
        """Show how each text is read; positions count from the start of the prompt. Nothing is truncated.

        Raises:
            EmptyInputError: no texts, or an empty one.
            InvalidTextError: a text holds a lone surrogate.
            TextTooLongError: a text is longer than any that `encode` would read whole.
            UnknownPromptError: no such prompt in the bundle.
        """
        if not texts:
            raise EmptyInputError("`inputs` cannot be empty")
        prompt = self._prompt(prompt_name)
        prepared = [self._prepare(text, prompt, truncate=False, direction="right") for text in texts]
        encodings = self._tokenizer.encode_batch(prepared, add_special_tokens=add_special_tokens)
        return [_tokens(text, encoding) for text, encoding in zip(prepared, encodings, strict=True)]

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """Turn ids back into text.

        Raises:
            InvalidTokensError: an id lies outside the vocabulary.
        """
        if invalid := next((i for i in ids if not 0 <= i < self.vocabulary_size), None):
            raise InvalidTokensError(f"token id {invalid} is outside the vocabulary of {self.vocabulary_size}")
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens)
        return text

    def _prompt(self, name: str | None) -> str:
        name = self.default_prompt if name is None else name
        if name is None:
            return ""
        if name not in self.prompts:
            known = ", ".join(sorted(self.prompts)) or "none"
            raise UnknownPromptError(f"`prompt_name` is unknown: {name[:64]!r}. This model's prompts: {known}")
        return self.prompts[name]

    def _prepare(self, text: str, prompt: str, *, truncate: bool, direction: Direction) -> str:
        if not text:
            raise EmptyInputError("`inputs` cannot be empty")
        limit = self.max_length * MAX_CHARACTERS_PER_TOKEN
        if len(text) > limit:
            if not truncate:
                raise TextTooLongError(f"`inputs` must have less than {limit} characters. Given: {len(text)}")
            text = text[:limit] if direction == "right" else text[-limit:]
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidTextError(
                f"`inputs` is not valid Unicode: lone surrogate at character {error.start}"
            ) from None  # the cause would carry the text into logs
        return prompt + text

    def _fit(self, ids: Ids, *, truncate: bool, direction: Direction) -> Ids:
        excess = len(ids) - self.max_length
        if excess <= 0:
            return ids
        if not truncate:
            raise TextTooLongError(f"`inputs` must have at most {self.max_length} tokens. Given: {len(ids)}")
        end = len(ids) - self._suffix
        cut = slice(end - excess, end) if direction == "right" else slice(self._prefix, self._prefix + excess)
        return np.delete(ids, cut)


def _tokens(text: str, encoding: Encoding) -> list[Token]:
    columns = zip(encoding.ids, encoding.tokens, encoding.special_tokens_mask, encoding.offsets, strict=True)
    return [
        Token(index, name, True, None, None) if special else Token(index, text[start:stop], False, start, stop)
        for index, name, special, (start, stop) in columns
    ]


def _special_token_counts(tokenizer: Tokenizer) -> tuple[int, int]:
    """How many special tokens the tokenizer's template puts before and after a text."""
    mask: list[int] = tokenizer.encode("a", add_special_tokens=True).special_tokens_mask
    prefix = mask.index(0)
    return prefix, len(mask) - prefix - mask.count(0)
