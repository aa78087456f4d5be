"""Rounding a matrix so that its products stay where they were, not each weight by itself. Knows arrays, no graphs."""

import numpy as np
from numpy.typing import NDArray

_DAMPING = 0.01
"""Share of the mean energy that is added to each channel's own: without it, channels that move together have no
inverse."""


def round_for_inputs(
    matrix: NDArray[np.float32], scales: NDArray[np.float32], moments: NDArray[np.float64], *, largest: int
) -> NDArray[np.int8]:
    """Integers whose products with `scales` stand for `matrix`, chosen for the inputs it will meet (GPTQ, 2210.17323).

    One input channel after the other is rounded, and what that does to the outputs is taken out by the weights of the
    channels that are still to come, as far as their inputs move together.

    Args:
        matrix: float32[inputs, outputs].
        scales: float32[outputs], what one step stands for in each column.
        moments: float64[inputs, inputs], the sum of x xᵀ over sample inputs x.
        largest: integers stay within ±largest.

    Returns:
        int8[inputs, outputs].
    """
    damped = moments + np.eye(len(moments)) * max(_DAMPING * np.trace(moments) / len(moments), np.finfo(float).tiny)
    # Rows of this factor say how much of a channel's error each later channel can take over (GPTQ, section 3.3).
    factor = np.linalg.cholesky(np.linalg.inv(damped)).T
    remaining = matrix.astype(np.float64)
    rounded = np.empty(matrix.shape, dtype=np.int8)
    for channel, row in enumerate(remaining):
        rounded[channel] = np.clip(np.rint(row / scales), -largest, largest)
        error = (row - rounded[channel] * scales) / factor[channel, channel]
        remaining[channel + 1 :] -= np.outer(factor[channel, channel + 1 :], error)
    return rounded
