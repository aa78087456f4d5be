import numpy as np
from numpy.typing import NDArray

from export.rounding import round_for_inputs

RANDOM = np.random.default_rng(0)
MATRIX = RANDOM.normal(size=(48, 20)).astype(np.float32)
SCALES = (np.abs(MATRIX).max(axis=0) / 15).astype(np.float32)
# Inputs of which most of what happens is in a few directions, as in a transformer.
INPUTS = RANDOM.normal(size=(2_000, 6)) @ RANDOM.normal(size=(6, 48)) + 0.1 * RANDOM.normal(size=(2_000, 48))


def error(rounded: NDArray[np.int8]) -> float:
    return float(np.linalg.norm(INPUTS @ (rounded * SCALES - MATRIX)))


def test_products_stay_closer_than_with_every_weight_rounded_by_itself() -> None:
    rounded = round_for_inputs(MATRIX, SCALES, INPUTS.T @ INPUTS, largest=15)
    plain = np.rint(MATRIX / SCALES).astype(np.int8)
    assert error(rounded) < error(plain) / 3
    assert np.abs(rounded).max() <= 15


def test_inputs_that_have_nothing_in_common_leave_plain_rounding() -> None:
    rounded = round_for_inputs(MATRIX, SCALES, np.diag(RANDOM.uniform(1, 9, size=48)), largest=15)
    np.testing.assert_array_equal(rounded, np.rint(MATRIX / SCALES))


def test_inputs_that_are_always_zero_do_no_harm() -> None:
    rounded = round_for_inputs(MATRIX, SCALES, np.zeros((48, 48)), largest=15)
    np.testing.assert_array_equal(rounded, np.rint(MATRIX / SCALES))


def test_exact_weights_stay_exact() -> None:
    exact = np.rint(MATRIX / SCALES).astype(np.int8)
    rounded = round_for_inputs(exact * SCALES, SCALES, INPUTS.T @ INPUTS, largest=15)
    np.testing.assert_array_equal(rounded, exact)
