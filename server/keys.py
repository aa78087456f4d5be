"""API keys from a file, read anew when it changes. Knows no HTTP but the form of the Authorization header."""

import hashlib
import hmac
import logging
import time
from collections.abc import Callable
from pathlib import Path

from bundle.errors import DiscoError

logger = logging.getLogger(__name__)

# A look at the file costs little, but not nothing, and a key that was taken back must not live long.
LOOK_EVERY = 1.0


class ApiKeysError(DiscoError):
    """The file of API keys cannot be read, or holds none."""


class ApiKeys:
    """Tells whether a request brings one of the keys. Only their hashes are kept."""

    def __init__(self, file: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`file` has one key a line; empty lines and those that begin with # are skipped.

        Raises:
            ApiKeysError: it cannot be read, or holds no key.
        """
        self._file = file
        self._clock = clock
        self._looked = clock()
        self._stamp = _stamp(file)
        self._hashes = _read(file)

    def find(self, authorization: str | None) -> bytes | None:
        """The hash of the key that an Authorization header brings; None unless it is "Bearer" and one of the keys."""
        self._refresh()
        scheme, _, key = (authorization or "").partition(" ")
        given = _hash(key.strip())
        # Every key is compared, each in constant time: how long it takes tells nothing.
        matches = [hmac.compare_digest(given, known) for known in self._hashes]
        return given if any(matches) and scheme.lower() == "bearer" else None

    def is_valid(self, digest: bytes) -> bool:
        """Whether this is the hash of one of the keys."""
        return digest in self._hashes

    def _refresh(self) -> None:
        if (now := self._clock()) - self._looked < LOOK_EVERY:
            return
        self._looked = now
        try:
            if (stamp := _stamp(self._file)) != self._stamp:
                self._hashes = _read(self._file)
                self._stamp = stamp
                logger.info("read %d API keys anew", len(self._hashes))
        except ApiKeysError as error:
            logger.error("%s; the keys from before are kept", error)


def _stamp(file: Path) -> tuple[int, int]:
    try:
        status = file.stat()
    except OSError as error:
        raise ApiKeysError(f"API keys cannot be read from {file}: {error.strerror}") from error
    return status.st_mtime_ns, status.st_size


def _read(file: Path) -> list[bytes]:
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ApiKeysError(f"API keys cannot be read from {file}: {type(error).__name__}") from error
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys:
        raise ApiKeysError(f"{file} holds no API key; write one a line")
    return [_hash(key) for key in keys]


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
