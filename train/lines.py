"""The lines of a text file, plain or zstd, with their numbers. Knows nothing of what a line holds.

What is broken is told with file and line, never with the text itself.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import zstandard

from train.errors import DataError

_CHUNK = 1 << 16


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    r"""Each line with its number, from 1, without `\n` or `\r\n`.

    Raises:
        DataError: not UTF-8, or zstd data that is damaged or ends too early.
    """
    number = 0
    try:
        for number, line in enumerate(_split(_chunks(path)), start=1):
            try:
                text = line.decode()
            except UnicodeDecodeError as error:
                raise DataError(f"{path}, line {number}: not UTF-8: {error.reason}") from None
            yield number, text.rstrip("\r\n")
    except zstandard.ZstdError as error:
        raise DataError(f"{path}, after line {number}: damaged zstd data: {error}") from error
    except EOFError:
        raise DataError(
            f"{path}, after line {number}: the zstd data ends before its end; the file is incomplete, copy it again"
        ) from None


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        chunks = iter(partial(file.read, _CHUNK), b"")
        yield from _decompressed(chunks) if path.suffix == ".zst" else chunks


def _decompressed(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The content of all frames one after the other.

    Not by a `stream_reader`: that takes the end of a file for the end of its data.

    Raises:
        EOFError: the last frame is not whole.
    """
    frame: zstandard.ZstdDecompressionObj | None = None
    for chunk in chunks:
        rest = chunk
        while rest:
            frame = frame or zstandard.ZstdDecompressor().decompressobj()
            yield frame.decompress(rest)
            rest = frame.unused_data
            if frame.eof:
                frame = None
    if frame is not None:
        raise EOFError


def _split(chunks: Iterator[bytes]) -> Iterator[bytes]:
    r"""What stands between one `\n` and the next; a last line need not end in one."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
    if rest:
        yield rest
