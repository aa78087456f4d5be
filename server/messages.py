"""Messages between the server's own processes: any objects, pickled, each behind its length.

Pickle is safe here: both ends are this program, over a socket that nobody else has.
"""

import asyncio
import logging
import pickle
import struct
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

from bundle.errors import DiscoError
from server.errors import DisconnectedError, PeerError

logger = logging.getLogger(__name__)

# What multiprocessing.connection puts before each message: its length.
_LENGTH = struct.Struct("!i")

Handle = Callable[[Any], Awaitable[Any]]
"""Answers a question; what it raises is told to whoever has asked."""


def send(writer: asyncio.StreamWriter, message: object) -> None:
    """Put a message on its way."""
    writer.write(_packed(message))


def _packed(message: object) -> bytes:
    payload = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(payload)) + payload


async def receive(reader: asyncio.StreamReader) -> Any:
    """Wait for the next message.

    Raises:
        EOFError, OSError: the other end has closed the connection.
    """
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    return pickle.loads(await reader.readexactly(length))


class Line:
    """Questions and answers over one connection, both ways, several at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handle: Handle) -> None:
        """`handle` answers the other end's questions."""
        self._reader = reader
        self._writer = writer
        self._handle = handle
        self._numbers = count()
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._answering: set[asyncio.Task[None]] = set()

    async def ask(self, question: object, *, patience: float) -> Any:
        """What the other end answers within `patience` seconds.

        Raises:
            DisconnectedError: it is gone, or took longer.
            DiscoError: what it raised; PeerError stands for anything else.
        """
        number = next(self._numbers)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            if self._reader.at_eof() or self._writer.is_closing():
                raise DisconnectedError("the process at the other end is gone")
            send(self._writer, (number, True, question))
            async with asyncio.timeout(patience):
                return await answer
        except TimeoutError:
            raise DisconnectedError(f"the process at the other end did not answer for {patience:g} s") from None
        finally:
            del self._asked[number]

    async def run(self) -> None:
        """Read what comes until the other end is gone; what was asked of it then fails."""
        try:
            while True:
                number, is_question, content = await receive(self._reader)
                if is_question:
                    task = asyncio.create_task(self._answer(number, content))
                    self._answering.add(task)
                    task.add_done_callback(self._answering.discard)
                elif (asked := self._asked.get(number)) is not None and not asked.done():
                    if isinstance(content, DiscoError):
                        asked.set_exception(content)
                    else:
                        asked.set_result(content)
        except (EOFError, OSError):
            pass
        except Exception:  # nothing that comes after it can be told apart any more
            logger.exception("a message of another process could not be read, so the connection to it is closed")
        finally:
            for asked in self._asked.values():
                if not asked.done():
                    asked.set_exception(DisconnectedError("the process at the other end is gone"))
            self.close()

    def close(self) -> None:
        """Hang up; both ends' `run` returns."""
        self._writer.close()

    async def _answer(self, number: int, question: object) -> None:
        try:
            answer = _packed((number, False, await self._handle(question)))
        except DiscoError as error:
            answer = _packed((number, False, error))
        except Exception as error:  # whoever has asked decides what to do about it
            logger.exception("a question of another process could not be answered")
            answer = _packed((number, False, PeerError(f"{type(error).__name__}; the log says where")))
        if not self._writer.is_closing():
            self._writer.write(answer)
