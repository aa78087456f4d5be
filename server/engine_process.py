"""An engine in a process of its own, so that a crash, a hang or the out-of-memory killer cannot end the server.

Owns the child's life, as its parent sees it, and what travels between the two; `server.engine_child` is the other end.
Knows neither queue nor HTTP.
"""

import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np

from bundle.arrays import Ids, Offsets, Vectors
from bundle.manifest import Precision, Runtime
from server.errors import EngineDiedError

logger = logging.getLogger(__name__)

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
    cost: Callable[[Sequence[int]], int]
    """A function of a module: it travels by its name."""


class Request(NamedTuple):
    """A batch for a child, which answers with its vectors, or with the traceback of what went wrong."""

    ids: Ids
    offsets: Offsets
    pooled: bool


class ProcessEncoder:
    """A `TokenEncoder` that lives in a child process; for one thread at a time, and to be used as a context manager."""

    def __init__(
        self, spec: EngineSpec, *, longest_batch: float = LONGEST_BATCH, restarted: Callable[[], None] = lambda: None
    ) -> None:
        """Start the child and wait until its encoder works.

        `longest_batch` is in seconds; `restarted` is called when a child has been replaced that died without a batch.

        Raises:
            DiscoError: what opening the encoder raises in the child.
            EngineDiedError: the child died on the way.
        """
        self._spec = spec
        self._longest_batch = longest_batch
        self._restarted = restarted
        self.dimension, self.description, self.encodes_tokens, self.cost = self._start()

    def _start(self) -> Opened:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "server.engine_child", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        self._connection = Connection(ours.detach())
        try:
            self._send(self._spec)
            answer = self._receive(LONGEST_START)
            if isinstance(answer, Exception):
                raise answer
        except BaseException:
            self._end()
            raise
        assert isinstance(answer, Opened)
        return answer

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def encode(self, ids: Ids, offsets: Offsets) -> Vectors:
        """See `Encoder`.

        Raises:
            EngineDiedError: the child has died or hung; open another one.
            RuntimeError: the batch failed; the message is the child's traceback.
        """
        return self._ask(Request(ids, offsets, pooled=True))

    def encode_tokens(self, ids: Ids, offsets: Offsets) -> Vectors:
        """See `TokenEncoder`; raises what `encode` raises."""
        return self._ask(Request(ids, offsets, pooled=False))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._end()

    def _ask(self, request: Request) -> Vectors:
        if self._process.poll() is not None:  # it had nothing to do, so nobody needs to notice
            logger.warning("%s; starting another", self._death())
            self._connection.close()
            self._start()
            self._restarted()
        self._send(request)
        answer = self._receive(self._longest_batch)
        if isinstance(answer, str):
            raise RuntimeError(answer)
        assert isinstance(answer, np.ndarray)
        return answer

    def _send(self, message: object) -> None:
        try:
            self._connection.send(message)
        except OSError as error:
            raise self._death() from error

    def _receive(self, patience: float) -> object:
        try:
            if self._connection.poll(patience):
                return self._connection.recv()
        except (EOFError, OSError) as error:
            raise self._death() from error
        self._process.kill()
        raise EngineDiedError(f"engine process {self.pid} did not answer for {patience:.0f} s and was killed")

    def _death(self) -> EngineDiedError:
        try:
            status = self._process.wait(STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            return EngineDiedError(f"engine process {self.pid} has closed its connection")
        how = signal.Signals(-status).name if status < 0 else f"status {status}"
        return EngineDiedError(f"engine process {self.pid} has ended by itself ({how})")

    def _end(self) -> None:
        self._connection.close()  # the child takes that as its end
        try:
            self._process.wait(STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
