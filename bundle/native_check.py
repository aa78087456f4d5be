"""Whether an instruction set multiplies as it should on this very machine, before it is trusted. Knows no model."""

from types import ModuleType

import numpy as np

from bundle.native_weights import Linear, Quantizer

# More than one block of every micro-kernel in each direction; the last rows do not fill theirs.
_ROWS, _DEPTH, _COLUMNS = 75, 200, 100


def multiplies_right(native: ModuleType, isa: str) -> bool:
    """Whether its products of bytes and of halves are exact, of numbers that leave nothing to round; milliseconds.

    The tiles of AMX are proven by tests on CPUs that have none, so the first CPU that has some is asked itself.
    """
    random = np.random.default_rng(0)
    rows = random.integers(0, 256, (_ROWS, _DEPTH))
    weights = random.integers(-127, 128, (_DEPTH, _COLUMNS))
    bytes_ = Linear(weights.astype(np.int8), None, np.ones(_COLUMNS, np.float32), Quantizer(1, 0, None))
    if not np.array_equal(native.multiply(isa, rows.astype(np.float32), bytes_), rows @ weights):
        return False
    halves = rows / 256 - 0.5  # eight bits and an exponent: bf16 has them, and float32 has room for the sums
    sums = native.multiply(isa, halves.astype(np.float32), Linear(weights.astype(np.float32), None))
    return np.array_equal(sums, halves @ weights)
