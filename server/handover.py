"""Open connections on their way from one process to another, over a socket that joins the two.

Knows sockets, not what is said over them. Each connection travels with one byte; a byte comes back when it is closed.
"""

import asyncio
import socket
from collections.abc import Callable

_BYTE = b"\0"
_MANY = 4096


class Giver:
    """The end of the process that accepts connections."""

    def __init__(self, joint: socket.socket) -> None:
        """`joint` is this end's to close."""
        joint.setblocking(False)
        self._joint = joint
        self.held = 0
        """Connections that the other end has and has not closed."""
        asyncio.get_running_loop().add_reader(joint, self._count_closed)

    def give(self, connection: socket.socket) -> bool:
        """Hand a connection over, whose own copy can then be closed; False where the other end takes none now."""
        try:
            socket.send_fds(self._joint, [_BYTE], [connection.fileno()])
        except OSError:  # its buffer is full, or it is gone
            return False
        self.held += 1
        return True

    def finish(self) -> None:
        """Give no more: the other end learns of it once it has taken all."""
        try:
            self._joint.shutdown(socket.SHUT_WR)
        except OSError:
            return  # the other end is gone

    def close(self) -> None:
        """Let go of the socket."""
        asyncio.get_running_loop().remove_reader(self._joint)
        self._joint.close()

    def _count_closed(self) -> None:
        try:
            closed = self._joint.recv(_MANY)
        except BlockingIOError:
            return
        except OSError:
            closed = b""
        self.held -= len(closed)
        if not closed:
            asyncio.get_running_loop().remove_reader(self._joint)


class Taker:
    """The end of the process that serves connections."""

    def __init__(self, joint: socket.socket, take: Callable[[socket.socket], None], finish: Callable[[], None]) -> None:
        """`take` is called with every connection, `finish` when no more will come. `joint` is this end's."""
        joint.setblocking(False)
        self._joint = joint
        self._take = take
        self._finish = finish
        self._untold = 0
        self._waits_to_tell = False
        asyncio.get_running_loop().add_reader(joint, self._receive)

    def closed(self) -> None:
        """Tell the giver that one of the connections is closed, as soon as it can be told."""
        self._untold += 1
        self._tell()

    def finish(self) -> None:
        """Take what was given still, and no more: the giver is gone.

        Where it had not read all that it was told, the kernel calls that an error of the socket, and uvloop looks at it
        no more.
        """
        while self._receive():
            pass

    def close(self) -> None:
        """Let go of the socket."""
        asyncio.get_running_loop().remove_reader(self._joint)
        asyncio.get_running_loop().remove_writer(self._joint)
        self._joint.close()

    def _tell(self) -> None:
        try:
            self._untold -= self._joint.send(_BYTE * self._untold)
        except BlockingIOError:
            pass  # the giver is behind
        except OSError:
            self._untold = 0  # the giver is gone
        if self._waits_to_tell != bool(self._untold):
            self._waits_to_tell = not self._waits_to_tell
            if self._waits_to_tell:
                asyncio.get_running_loop().add_writer(self._joint, self._tell)
            else:
                asyncio.get_running_loop().remove_writer(self._joint)

    def _receive(self) -> bool:
        """Take one; False where none is there."""
        try:
            byte, descriptors, _, _ = socket.recv_fds(self._joint, 1, 1)
        except BlockingIOError:
            return False
        except OSError:
            byte, descriptors = b"", []
        for descriptor in descriptors:
            self._take(socket.socket(fileno=descriptor))
        if byte and not descriptors:  # the kernel had no descriptor left for it, and has closed it
            self.closed()
        if not byte:
            asyncio.get_running_loop().remove_reader(self._joint)
            self._finish()
        return bool(byte)
