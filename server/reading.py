"""Texts to tokens and back for requests, in threads where that takes longer than to wake one.

Knows neither queue, engine nor HTTP.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from bundle.arrays import Ids
from bundle.text import Direction, TextEncoder, Token
from server.dispatch import Patience, wait_for
from server.errors import InvalidRequestError

T = TypeVar("T")

Text = str | list[int]
"""A text, or one that is already token ids."""
# To tokenise so many characters takes less time than to wake a thread for it.
INLINE_LENGTH = 1_000
# Told one by one, so many tokens are some 4 MB of JSON.
MOST_TOKENS = 65_536


@dataclass(frozen=True, slots=True)
class Reading:
    """How texts become tokens."""

    truncate: bool | None = None
    """None: as the server is set up."""
    direction: Direction = "right"
    prompt_name: str | None = None


class Reader:
    """One model's tokenizer. To be used from one event loop.

    All its work is for somebody who waits, so every method may raise RequestTimeoutError or ClientGoneError; what has
    not begun by then is not begun.
    """

    def __init__(self, text_encoder: TextEncoder, *, auto_truncate: bool, threads: int) -> None:
        """`auto_truncate`: whether long texts are cut where a request does not say."""
        self._text_encoder = text_encoder
        self._auto_truncate = auto_truncate
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="tokenizer")

    async def ids(self, texts: Sequence[Text], reading: Reading, patience: Patience) -> list[Ids]:
        """Each text's ids, special ones included.

        Raises:
            InputError: a text is empty, too long, not Unicode, or the prompt is unknown.
        """
        if sum(map(len, texts)) <= INLINE_LENGTH:
            return self._ids(texts, reading)
        return await self._in_thread(partial(self._ids, texts, reading), patience)

    async def tokens(
        self, texts: Sequence[str], patience: Patience, *, add_special_tokens: bool, prompt_name: str | None
    ) -> list[list[Token]]:
        """Each text's tokens, nothing truncated.

        Raises:
            InputError: as `ids`.
            InvalidRequestError: there are too many to tell.
        """

        def work() -> list[list[Token]]:
            tokens = self._text_encoder.tokens(texts, add_special_tokens=add_special_tokens, prompt_name=prompt_name)
            if (count := sum(map(len, tokens))) > MOST_TOKENS:
                raise InvalidRequestError(f"{count} tokens, at most {MOST_TOKENS} in one answer; send fewer texts")
            return tokens

        return await self._in_thread(work, patience)

    async def decode(self, rows: Sequence[list[int]], patience: Patience, *, skip_special_tokens: bool) -> list[str]:
        """Each row's text.

        Raises:
            InvalidTokensError: an id lies outside the vocabulary.
        """

        def work() -> list[str]:
            return [self._text_encoder.decode(row, skip_special_tokens=skip_special_tokens) for row in rows]

        return await self._in_thread(work, patience)

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, work: Callable[[], T], patience: Patience) -> T:
        return await wait_for(asyncio.get_running_loop().run_in_executor(self._threads, work), patience)

    def _ids(self, texts: Sequence[Text], reading: Reading) -> list[Ids]:
        decoded = [text if isinstance(text, str) else self._text_encoder.decode(text) for text in texts]
        truncate = self._auto_truncate if reading.truncate is None else reading.truncate
        return self._text_encoder.encode(
            decoded, truncate=truncate, direction=reading.direction, prompt_name=reading.prompt_name
        )
