"""Processes that this one starts, each a module of this program. Knows not what they do."""

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import Process


async def start_child(module: str, *sockets: socket.socket) -> Process:
    """Run `module` with the file descriptors of `sockets`, which it inherits, as its arguments."""
    descriptors = [end.fileno() for end in sockets]
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *map(str, descriptors)),
        pass_fds=descriptors,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


async def end_of(child: Process) -> str:
    """Wait for a process to end; says how it did: the signal's name or the exit status."""
    status = await child.wait()
    return signal.Signals(-status).name if status < 0 else f"status {status}"
