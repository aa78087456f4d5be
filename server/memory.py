"""What serving wants of the process' memory: few pauses to look for garbage, and freed memory given back.

Knows neither models nor requests.
"""

import ctypes
import gc
import sys

# New objects between two looks at them; requests leave hardly any garbage that reference counts do not find.
YOUNG, MIDDLE, OLD = 20_000, 20, 50


def settle() -> None:
    """Take all that has been opened out of the garbage collector's sight, and let it look less often.

    It takes a tenth of the time of a front end otherwise, most of it to look at what is there to stay.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)


def give_back() -> None:
    """Let go of what a closed model leaves, and let the allocator return what it keeps for later.

    glibc keeps what lies below anything that is still in use: a third more per model that was replaced. Where an
    allocator does so by itself nothing happens.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)
