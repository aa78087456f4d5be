"""What the instruction sets compute, against float64 and against whole numbers."""

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bundle.native_weights import Linear, Quantizer

native = pytest.importorskip("disco_native", reason="disco-native is not built: make native")

ISAS = native.instruction_sets()
SLOW_ISAS = ("generic", "amx_emulated")
"""Plain C++, which rounds a product before it adds to it."""
each_isa = pytest.mark.parametrize("isa", ISAS)


def gelu(x: NDArray[np.float64]) -> NDArray[np.float64]:
    activated: NDArray[np.float64] = x * np.array([0.5 + 0.5 * math.erf(value / math.sqrt(2)) for value in x])
    return activated


def tanh_gelu(x: NDArray[np.float64]) -> NDArray[np.float64]:
    activated: NDArray[np.float64] = 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return activated


def grid(low: float, high: float) -> NDArray[np.float32]:
    return np.linspace(low, high, 100_003).astype(np.float32)


def apply(isa: str, function: str, values: NDArray[np.float32]) -> NDArray[np.float64]:
    results: NDArray[np.float64] = native.apply(isa, function, values)[0].astype(np.float64)
    return results


@each_isa
def test_powers_of_two_are_right_to_three_millionths(isa: str) -> None:
    x = grid(-126, 20)
    np.testing.assert_allclose(apply(isa, "exp2", x), np.exp2(x.astype(np.float64)), rtol=3e-6)
    assert apply(isa, "exp2", np.array([-200, -1e4, -3e38], np.float32)).tolist() == [0, 0, 0]


@each_isa
def test_gelu_by_erf_is_right_to_what_it_promises(isa: str) -> None:
    for bound, error in ((4.3, 5e-5), (12, 1e-4)):
        x = grid(-bound, bound)
        np.testing.assert_allclose(apply(isa, "gelu_erf", x), gelu(x.astype(np.float64)), atol=error, rtol=0)
    far = np.array([-1000, 1000, -20, 20], np.float32)
    error_there = 2e-6 if isa in SLOW_ISAS else 5e-7
    errors = np.abs(apply(isa, "gelu_erf", far) - np.maximum(far, 0))
    assert np.all(errors <= error_there * np.abs(far))


@each_isa
def test_gelu_by_tanh_is_right_to_rounding(isa: str) -> None:
    x = grid(-30, 30)
    np.testing.assert_allclose(apply(isa, "tanh_gelu", x), tanh_gelu(x.astype(np.float64)), rtol=2e-5, atol=2e-6)


@each_isa
def test_bytes_are_the_nearest_ones_within_their_range(isa: str) -> None:
    x = np.array([-1e9, -3, -0.5, 0.5, 1.5, 2.5, 2.4999, 127.3, 254.6, 255, 256, 1e9], np.float32)
    assert apply(isa, "bytes", x).tolist() == [0, 0, 0, 0, 2, 2, 2, 127, 255, 255, 255, 255]
    # Further than 32-bit whole numbers reach, with and without a sign.
    far = np.array([2.2e9, 4.2e9, 5e9, 3e38, np.inf, -2.2e9, -5e9, -3e38, -np.inf, np.nan], np.float32)
    assert apply(isa, "bytes", far).tolist() == [255] * 5 + [0] * 5


@each_isa
def test_halves_are_rounded_to_even(isa: str) -> None:
    values = np.random.default_rng(0).normal(size=1024).astype(np.float32)
    bits = values.view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32)
    np.testing.assert_array_equal(apply(isa, "halves", values).astype(np.float32), rounded.view(np.float32))


@dataclass
class Product:
    """What a hypothesis draw is made of."""

    rows: int
    depth: int
    columns: int
    seed: int = field(default=0)


products = st.builds(Product, st.integers(1, 70), st.integers(1, 200), st.integers(1, 150), st.integers(0, 2**31))


@each_isa
@settings(max_examples=30)
@given(product=products)
def test_products_of_bytes_are_exact(isa: str, product: Product) -> None:
    random = np.random.default_rng(product.seed)
    rows = random.integers(0, 256, (product.rows, product.depth))
    weights = random.integers(-127, 128, (product.depth, product.columns)).astype(np.int8)
    scales = np.ones(product.columns, np.float32)
    linear = Linear(weights=weights, bias=None, scales=scales, input=Quantizer(1, 0, None))
    sums = native.multiply(isa, rows.astype(np.float32), linear)
    np.testing.assert_array_equal(sums, rows @ weights.astype(np.int64))


@each_isa
@settings(max_examples=30)
@given(product=products)
def test_products_of_halves_lose_what_rounding_takes(isa: str, product: Product) -> None:
    random = np.random.default_rng(product.seed)
    rows = random.normal(size=(product.rows, product.depth)).astype(np.float32)
    weights = random.normal(size=(product.depth, product.columns)).astype(np.float32)
    sums = native.multiply(isa, rows, Linear(weights=weights, bias=None))
    expected = rows.astype(np.float64) @ weights
    most = np.abs(rows).astype(np.float64) @ np.abs(weights)  # what errors are relative to
    assert np.all(np.abs(sums - expected) <= 2**-7 * most + 1e-6)


@each_isa
def test_a_row_is_the_same_wherever_it_stands(isa: str) -> None:
    random = np.random.default_rng(0)
    row = random.normal(size=(1, 96)).astype(np.float32)
    linear = Linear(weights=random.normal(size=(96, 80)).astype(np.float32), bias=None)
    alone = native.multiply(isa, row, linear)
    for count in (2, 7, 8, 9, 16, 17, 33, 64):
        rows = random.normal(size=(count, 96)).astype(np.float32)
        rows[count // 2] = row
        np.testing.assert_array_equal(native.multiply(isa, rows, linear)[count // 2], alone[0])


def test_a_function_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="no function 'exp3'"):
        native.apply("generic", "exp3", np.zeros(1, np.float32))


def test_an_instruction_set_that_is_none_is_refused_beside_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"no instruction set 'mmx'; there are .*generic"):
        native.apply("mmx", "exp2", np.zeros(1, np.float32))
