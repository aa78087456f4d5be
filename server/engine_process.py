"""An engine in a process of its own, so that a crash, a hang or the out-of-memory killer cannot end the server.

Owns the child's life, as its parent sees it, and what the two say to each other; `server.engine_child` is the other
end. Knows neither queue nor HTTP.
"""

import asyncio
import socket
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from bundle.arrays import Ids, Offsets, Vectors
from bundle.manifest import Precision, Runtime
from server.batching import Cost
from server.children import end_of, start_child
from server.errors import EngineDiedError
from server.messages import receive, send

# No batch takes this long: a process that is still at one has hung.
LONGEST_BATCH = 30.0
LONGEST_START = 120.0
STOP_PATIENCE = 2.0


class EngineSpec(NamedTuple):
    """What a child is to run."""

    bundle: Path
    digest: str
    """Of the bundle that its parent has verified: another one may lie there by the time a child is started again."""
    precision: Precision | None
    runtime: Runtime | None
    niceness: int = 0
    """How much less urgent than the server the child's work is, as `nice` has it."""


class Opened(NamedTuple):
    """What a child tells of its encoder, once it works."""

    dimension: int
    description: str
    encodes_tokens: bool
    cost: Cost
    """A function of a module: it travels by its name."""


class Request(NamedTuple):
    """A batch for a child, which answers with its vectors, or with the traceback of what went wrong."""

    ids: Ids
    offsets: Offsets
    pooled: bool


class ProcessEncoder:
    """An `AsyncEncoder` that lives in a child process; an asynchronous context manager."""

    def __init__(self, spec: EngineSpec, *, longest_batch: float = LONGEST_BATCH) -> None:
        """`longest_batch` is in seconds."""
        self._spec = spec
        self._longest_batch = longest_batch

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    async def __aenter__(self) -> Self:
        """Start the child and wait until its encoder works.

        Raises:
            DiscoError: what opening the encoder raises in the child.
            EngineDiedError: the child died on the way.
        """
        self.dimension, self.description, self.encodes_tokens, self.cost = await self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()  # the child takes that as its end
        try:
            await asyncio.wait_for(self._process.wait(), STOP_PATIENCE)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def encode(self, ids: Ids, offsets: Offsets, *, pooled: bool) -> Vectors:
        """See `AsyncEncoder`.

        Raises:
            EngineDiedError: the child has died or hung; open another one.
            RuntimeError: the batch failed; the message is the child's traceback.
        """
        answer = await self._ask(Request(ids, offsets, pooled), self._longest_batch)
        if isinstance(answer, str):
            raise RuntimeError(answer)
        assert isinstance(answer, np.ndarray)
        return answer

    async def ended(self) -> EngineDiedError:
        """See `AsyncEncoder`."""
        return EngineDiedError(f"engine process {self.pid} has ended by itself ({await end_of(self._process)})")

    async def _start(self) -> Opened:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = await start_child("server.engine_child", theirs)
        self._reader, self._writer = await asyncio.open_unix_connection(sock=ours)
        try:
            answer = await self._ask(self._spec, LONGEST_START)
            if isinstance(answer, Exception):
                raise answer
        except BaseException:
            await self.__aexit__()
            raise
        assert isinstance(answer, Opened)
        return answer

    async def _ask(self, message: object, patience: float) -> object:
        send(self._writer, message)
        try:
            async with asyncio.timeout(patience):
                return await receive(self._reader)
        except TimeoutError:
            self._process.kill()
            raise EngineDiedError(
                f"engine process {self.pid} did not answer for {patience:.0f} s and was killed"
            ) from None
        except (EOFError, OSError) as error:
            raise await self._why_it_hung_up() from error

    async def _why_it_hung_up(self) -> EngineDiedError:
        try:
            return await asyncio.wait_for(self.ended(), STOP_PATIENCE)
        except TimeoutError:
            return EngineDiedError(f"engine process {self.pid} has closed its connection")
