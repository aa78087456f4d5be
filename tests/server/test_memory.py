import ctypes
import gc
import platform
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.memory import give_back, settle


@pytest.fixture
def collector() -> Iterator[None]:
    """Leaves the garbage collector as it was."""
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


class Node:
    """One that garbage collection has to find, as it refers to itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.mark.usefixtures("collector")
def test_what_was_there_when_serving_began_is_looked_at_again_only_when_something_was_closed() -> None:
    node = Node()
    alive = weakref.ref(node)
    settle()
    del node
    gc.collect()
    assert alive() is not None
    give_back()
    assert alive() is None
    assert gc.get_freeze_count() > 0


@pytest.mark.usefixtures("collector")
def test_garbage_of_requests_is_still_found() -> None:
    settle()
    alive = [weakref.ref(Node()) for _ in range(100_000)]
    assert sum(ref() is None for ref in alive) > 50_000


def resident_kibibytes() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_what_lies_below_memory_in_use_goes_back_too() -> None:
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    blocks = [ctypes.c_void_p(libc.malloc(100_000)) for _ in range(500)]  # below what glibc maps apart
    for block in blocks:
        ctypes.memset(block, 1, 100_000)
    for block in blocks[:-1]:
        libc.free(block)
    before = resident_kibibytes()
    give_back()
    libc.free(blocks[-1])
    assert before - resident_kibibytes() > 30_000
