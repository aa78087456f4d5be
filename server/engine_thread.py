"""An engine in a thread of the server's own process. Knows neither queue nor HTTP."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Self

from bundle.arrays import Ids, Offsets, Vectors
from bundle.runtime import TokenEncoder
from server.batching import Cost
from server.errors import EngineDiedError


class ThreadEncoder:
    """An `AsyncEncoder` around one of `bundle.runtime`; an asynchronous context manager."""

    def __init__(self, open_encoder: Callable[[], TokenEncoder]) -> None:
        self._open_encoder = open_encoder
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="engine")

    async def __aenter__(self) -> Self:
        self._encoder = await asyncio.get_running_loop().run_in_executor(self._thread, self._open_encoder)
        self.dimension = self._encoder.dimension
        self.description = self._encoder.description
        self.encodes_tokens = self._encoder.encodes_tokens
        self.cost: Cost = self._encoder.cost
        return self

    async def __aexit__(self, *_: object) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def encode(self, ids: Ids, offsets: Offsets, *, pooled: bool) -> Vectors:
        """See `AsyncEncoder`."""
        work = self._encoder.encode if pooled else self._encoder.encode_tokens
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, ids, offsets)

    async def ended(self) -> EngineDiedError:
        """See `AsyncEncoder`: a thread ends with its process only."""
        never: asyncio.Future[EngineDiedError] = asyncio.get_running_loop().create_future()
        return await never
