import ctypes
import platform
from pathlib import Path

import pytest

from server.memory import give_back


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
