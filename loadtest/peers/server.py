"""A server process on loopback: started, held while others are measured, and stopped whatever happens."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urljoin

from loadtest.peers.errors import AbsentError
from loadtest.peers.systems import System
from loadtest.peers.usage import tree
from loadtest.routes import ROUTES

_STOP_SECONDS = 15
_POLL_SECONDS = 0.05


class Server:
    """A running system and where it is."""

    def __init__(self, system: System, process: "subprocess.Popen[bytes]", port: int) -> None:
        self.system = system
        self.url = f"http://127.0.0.1:{port}{ROUTES[system.route].path}"
        self.startup_seconds = float("nan")
        """From the start of the process to its first right answer."""
        self._process = process

    @property
    def pids(self) -> list[int]:
        """The process and its descendants."""
        return tree(self._process.pid)

    @property
    def is_running(self) -> bool:
        """Whether the process that was started lives."""
        return self._process.poll() is None

    def embed(self, texts: list[str], *, timeout: float = 30) -> bytes:
        """The body of the answer to one request.

        Raises:
            AbsentError: no answer, or a status that is none of success.
        """
        body = ROUTES[self.system.route].encode(texts, self.system.served_name)
        request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                content: bytes = answer.read()
        except urllib.error.HTTPError as error:
            error.close()  # or its finaliser would, which swallows the interrupt of whoever waits for a server to start
            raise AbsentError(f"answers HTTP {error.code} to {ROUTES[self.system.route].path}") from error
        except (OSError, HTTPException) as error:
            raise AbsentError(f"does not answer ({error})") from error
        return content

    def engine(self) -> str | None:
        """What it says it computes with; None where it says nothing.

        Raises:
            AbsentError: it should, and does not.
        """
        if self.system.description is None:
            return None
        try:
            with urllib.request.urlopen(urljoin(self.url, self.system.description), timeout=30) as answer:
                return str(json.load(answer)["engine"])
        except (OSError, HTTPException, ValueError, KeyError) as error:
            raise AbsentError(f"does not tell its engine at {self.system.description} ({error})") from error

    def hold(self) -> None:
        """Stop its processes where they are: they keep their memory and take no processor time."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let its processes go on."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """End its processes, by force those that do not go within some seconds."""
        self._signal(signal.SIGCONT)
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_SECONDS)
        self._signal(signal.SIGKILL)  # also to those that outlived their parent
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


@contextmanager
def serve(system: System, log: Path, *, patience: float) -> Iterator[Server]:
    """Start `system` on a free port, wait for its first answer, and end it after the block. Output goes to `log`.

    Raises:
        AbsentError: it ends by itself, or has not answered after `patience` seconds.
    """
    port = _free_port()
    command = [part.replace("{port}", str(port)) for part in system.command]
    began = time.monotonic()
    with log.open("wb") as output:
        try:
            # A process group of its own, to be held and ended as one; Ctrl-C goes to this program alone.
            process = subprocess.Popen(
                command,
                stdout=output,
                stderr=output,
                cwd=system.folder,
                env=os.environ | system.variables,
                start_new_session=True,
            )
        except OSError as error:
            raise AbsentError(f"{command[0]} cannot be started: {error.strerror}") from error
    server = Server(system, process, port)
    try:
        while True:
            try:
                server.embed(["ready?"], timeout=patience)
                break
            except AbsentError as error:
                if not server.is_running:
                    raise AbsentError(f"ended with status {process.returncode}: {_last_line(log)}") from error
                if time.monotonic() - began > patience:
                    raise AbsentError(f"no answer within {patience:g} s: {error}") from error
                time.sleep(_POLL_SECONDS)
        server.startup_seconds = time.monotonic() - began
        yield server
    finally:
        server.stop()


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "it said nothing"


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port
