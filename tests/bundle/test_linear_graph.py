"""Query, key and value side by side only where they read the same bytes."""

from dataclasses import replace

import numpy as np
import pytest

from bundle.errors import UnsupportedModelError
from bundle.linear_graph import join
from bundle.native_weights import Linear, Quantizer

FACTORS = np.array([1, 0.5], np.float32)


def linear(quantizer: Quantizer | None = None) -> Linear:
    scales = None if quantizer is None else np.ones(3, np.float32)
    return Linear(weights=np.ones((2, 3), np.int8), bias=None, scales=scales, input=quantizer)


def test_products_of_the_same_input_are_joined() -> None:
    for smoothing, again in ((None, None), (FACTORS, FACTORS.copy())):
        one, other = Quantizer(0.5, 3, smoothing), Quantizer(0.5, 3, again)
        joined = join([linear(one), replace(linear(other), bias=np.ones(3, np.float32))])
        assert joined.weights.shape == (2, 6)
        assert joined.input == one
        assert joined.bias is not None
        assert joined.bias.tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    "other",
    [
        linear(),
        linear(Quantizer(0.25, 3, FACTORS)),
        linear(Quantizer(0.5, 4, FACTORS)),
        linear(Quantizer(0.5, 3, None)),
        linear(Quantizer(0.5, 3, FACTORS[::-1])),
        replace(linear(Quantizer(0.5, 3, FACTORS)), outliers=[1]),
    ],
    ids=["fp32", "scale", "zero", "no smoothing", "other smoothing", "outliers"],
)
def test_products_that_read_their_input_otherwise_are_refused(other: Linear) -> None:
    with pytest.raises(UnsupportedModelError, match="query, key and value"):
        join([linear(Quantizer(0.5, 3, FACTORS)), other])
