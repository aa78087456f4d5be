"""What every embedding route shares: check → admit → tokenise → queue → wait → post-process.

Knows neither routes, JSON nor ONNX.
"""

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from bundle.arrays import Ids, Vectors
from bundle.errors import EmptyInputError
from bundle.text import Token
from server.cache import VectorCache
from server.dispatch import Disconnected, Dispatcher, Patience
from server.errors import InvalidRequestError, OverloadedError
from server.jobs import Job, Lane
from server.metrics import ModelMetrics
from server.queue import BatchQueue
from server.reading import Reader, Reading, Text
from server.shadow import Observe
from server.timings import Timings
from server.urgency import Urgency

# A vector for every token makes long answers: this many are some 70 MB of JSON at 384 dimensions.
MOST_TOKEN_VECTORS = 16_384


V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Embedded(Generic[V]):
    """The answer to one request."""

    vectors: V
    """As the model gives them: float32[texts, dimension], or float32[length, dimension] for each text."""
    texts: int
    characters: int
    tokens: int
    began: float
    """When tokenising did, by `time.perf_counter`."""
    tokenize_seconds: float
    queue_seconds: float
    inference_seconds: float

    def timings(self, total: float) -> Timings:
        """The stages of a request that took `total` seconds."""
        return Timings(self.tokenize_seconds, self.queue_seconds, self.inference_seconds, total)


class EmbeddingService:
    """Embeds texts for all routes. To be used from one event loop."""

    def __init__(
        self,
        reader: Reader,
        queue: BatchQueue,
        cache: VectorCache,
        metrics: ModelMetrics,
        *,
        dimension: int,
        max_texts: int,
        bulk_texts: int,
        timeout: float,
        observe: Observe | None = None,
    ) -> None:
        """`timeout` is in seconds; requests of more than `bulk_texts` texts are bulk unless they say otherwise.

        `observe` is called with the texts and vectors of every answer.
        """
        self._reader = reader
        self._queue = queue
        self._dispatcher = Dispatcher(queue, metrics)
        self._cache = cache
        self._metrics = metrics
        self._dimension = dimension
        self._max_texts = max_texts
        self._bulk_texts = bulk_texts
        self._observe = observe
        self._running = 0
        self._timeout = timeout

    async def embed(
        self, texts: Sequence[Text], reading: Reading, disconnected: Disconnected, urgency: Urgency | None = None
    ) -> Embedded[Vectors]:
        """Embed `texts`; what is in the cache is not embedded again.

        Raises:
            InputError: a text is empty, too long, not Unicode, or the prompt is unknown.
            InvalidRequestError: too many texts.
            OverloadedError: the queue has no room for all of them; none was queued.
            BackendError, UnhealthyError: the model failed.
            RequestTimeoutError, ClientGoneError: nobody waits any more; what was still queued never runs.
        """
        embedded = await self._answer(texts, reading, disconnected, urgency or Urgency(), self._embed_pooled)
        if self._observe is not None:
            self._observe(texts, embedded.vectors)
        return embedded

    async def embed_tokens(
        self, texts: Sequence[Text], reading: Reading, disconnected: Disconnected, urgency: Urgency | None = None
    ) -> Embedded[list[Vectors]]:
        """Embed each token of `texts`, special ones included, without pooling; past the cache.

        Raises:
            InvalidRequestError: too many texts or tokens.
            DiscoError: as `embed`.
        """
        return await self._answer(texts, reading, disconnected, urgency or Urgency(), self._embed_unpooled)

    @property
    def busy(self) -> bool:
        """Whether a request has not been answered yet."""
        return self._running > 0

    async def _answer(
        self,
        texts: Sequence[Text],
        reading: Reading,
        disconnected: Disconnected,
        urgency: Urgency,
        embed: Callable[[list[Ids], Patience], Awaitable[tuple[V, Job | None]]],
    ) -> Embedded[V]:
        self.check_count(len(texts))
        lane = urgency.lane or ("bulk" if len(texts) > self._bulk_texts else "interactive")
        patience = Patience(self._deadline(urgency.timeout), lane, disconnected)
        began = time.perf_counter()
        with self._at_work():
            with self._room_for(len(texts), lane):
                encoded = await self._reader.ids(texts, reading, patience)
            # What follows submits without another await, so nobody else can take the room in between.
            tokenize_seconds = time.perf_counter() - began
            vectors, job = await embed(encoded, patience)
        return Embedded(
            vectors=vectors,
            texts=len(texts),
            characters=sum(len(text) for text in texts if isinstance(text, str)),
            tokens=sum(map(len, encoded)),
            began=began,
            tokenize_seconds=tokenize_seconds,
            queue_seconds=job.queue_seconds if job else 0.0,
            inference_seconds=job.inference_seconds if job else 0.0,
        )

    async def _embed_pooled(self, encoded: list[Ids], patience: Patience) -> tuple[Vectors, Job | None]:
        keys = [ids.tobytes() for ids in encoded]
        vectors, missing = self._look_up(keys)
        if not missing:
            return vectors, None
        job = await self._dispatcher.run([encoded[row] for row in missing], patience, pooled=True)
        vectors[missing] = job.rows
        for row in missing:
            self._cache.put(keys[row], vectors[row])
        return vectors, job

    async def _embed_unpooled(self, encoded: list[Ids], patience: Patience) -> tuple[list[Vectors], Job]:
        if (tokens := sum(map(len, encoded))) > MOST_TOKEN_VECTORS:
            raise InvalidRequestError(f"{tokens} tokens, at most {MOST_TOKEN_VECTORS} in one request; send fewer texts")
        job = await self._dispatcher.run(encoded, patience, pooled=False)
        return job.rows, job

    async def tokens(
        self, texts: Sequence[str], *, add_special_tokens: bool, prompt_name: str | None, disconnected: Disconnected
    ) -> list[list[Token]]:
        """Tokenise without embedding and without truncation.

        Raises:
            InputError, InvalidRequestError, OverloadedError, RequestTimeoutError, ClientGoneError: as `embed`.
            InvalidRequestError: there are too many tokens to tell.
        """
        self.check_count(len(texts))

        patience = self._patience_without_embedding(disconnected)
        with self._at_work(), self._room_for(len(texts), patience.lane):
            return await self._reader.tokens(
                texts, patience, add_special_tokens=add_special_tokens, prompt_name=prompt_name
            )

    async def decode(
        self, rows: Sequence[list[int]], *, skip_special_tokens: bool, disconnected: Disconnected
    ) -> list[str]:
        """Turn each row of token ids back into text.

        Raises:
            EmptyInputError: there are no rows, or an empty one.
            InvalidTokensError, InvalidRequestError: an id outside the vocabulary, too many rows.
            OverloadedError, RequestTimeoutError, ClientGoneError: as `embed`.
        """
        if not rows or not all(rows):
            raise EmptyInputError("`ids` cannot be empty")
        self.check_count(len(rows))

        patience = self._patience_without_embedding(disconnected)
        with self._at_work(), self._room_for(len(rows), patience.lane):
            return await self._reader.decode(rows, patience, skip_special_tokens=skip_special_tokens)

    def check_count(self, texts: int) -> None:
        """Refuse requests of no or too many texts."""
        if texts == 0:
            raise EmptyInputError("`inputs` cannot be empty")
        if texts > self._max_texts:
            raise InvalidRequestError(f"batch size {texts} > maximum allowed batch size {self._max_texts}")

    def close(self) -> None:
        """End the tokenizer threads."""
        self._reader.close()

    @contextmanager
    def _room_for(self, texts: int, lane: Lane) -> Iterator[None]:
        self._queue.reserve(texts, lane)
        try:
            yield
        finally:
            self._queue.release(texts, lane)

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """Around a request's work: it makes the service `busy`, and a refusal is counted."""
        self._running += 1
        try:
            yield
        except OverloadedError as error:
            self._metrics.refused[error.reason].inc()
            raise
        finally:
            self._running -= 1

    def _patience_without_embedding(self, disconnected: Disconnected) -> Patience:
        return Patience(self._deadline(None), "bulk", disconnected)

    def _deadline(self, timeout: float | None) -> float:
        return time.monotonic() + (self._timeout if timeout is None else min(self._timeout, timeout))

    def _look_up(self, keys: list[bytes]) -> tuple[Vectors, list[int]]:
        """What the cache has, float32[texts, dimension], and the rows that it has not."""
        vectors = np.empty((len(keys), self._dimension), dtype=np.float32)
        missing = []
        for row, key in enumerate(keys):
            if (known := self._cache.get(key)) is None:
                missing.append(row)
            else:
                vectors[row] = known
        self._metrics.cached["hit"].inc(len(keys) - len(missing))
        self._metrics.cached["miss"].inc(len(missing))
        return vectors, missing
