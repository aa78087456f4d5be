import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.arrays import Vectors, normalize
from bundle.output_types import OUTPUT_TYPES, OutputType, comparable
from server.errors import InvalidRequestError
from server.outputs import OutputForm, Outputs

DIMENSION = 64
VECTORS: Vectors = np.random.default_rng(0).normal(size=(40, DIMENSION)).astype(np.float32)
UNIT = normalize(VECTORS)


def outputs(*, normalized: bool = False, output_range: float | None = 0.4) -> Outputs:
    return Outputs(dimension=DIMENSION, normalized=normalized, output_range=output_range)


def test_vectors_of_length_1_are_handed_on_as_they_are() -> None:
    assert outputs(normalized=True).shape(UNIT, OutputForm()) is UNIT


@given(st.integers(1, DIMENSION))
def test_cutting_comes_before_normalising(dimensions: int) -> None:
    cut = outputs().shape(VECTORS, OutputForm(dimensions=dimensions))
    np.testing.assert_allclose(cut, normalize(VECTORS[:, :dimensions]), rtol=1e-6)
    raw = outputs().shape(VECTORS, OutputForm(unit_length=False, dimensions=dimensions))
    np.testing.assert_array_equal(raw, VECTORS[:, :dimensions])


@pytest.mark.parametrize("output_type", OUTPUT_TYPES)
@pytest.mark.parametrize("dimensions", [None, 16])
def test_every_type_keeps_similarities(output_type: OutputType, dimensions: int | None) -> None:
    size = dimensions or DIMENSION
    codes = outputs().shape(VECTORS, OutputForm(output_type, dimensions=dimensions))
    found = normalize(comparable(codes, output_type, dimension=size))
    reference = normalize(VECTORS[:, :size])
    # Signs alone keep less, the rest almost all; clipping would show here, were cut vectors not given a wider range.
    least = 0.6 if "binary" in output_type else 0.999
    assert np.corrcoef((found @ found.T).ravel(), (reference @ reference.T).ravel())[0, 1] > least


@pytest.mark.parametrize(
    ("form", "complaint"),
    [
        (OutputForm(dimensions=0), "should be positive. Given: 0"),
        (OutputForm(dimensions=65), "Given: 65, maximum: 64"),
        (OutputForm("uint8", unit_length=False), "uint8 needs vectors of length 1"),
    ],
)
def test_what_the_model_cannot_give_is_refused(form: OutputForm, complaint: str) -> None:
    with pytest.raises(InvalidRequestError, match=complaint):
        outputs().check(form)


def test_8_bits_need_a_calibrated_range_and_bits_do_not() -> None:
    uncalibrated = outputs(output_range=None)
    with pytest.raises(InvalidRequestError, match="export it again"):
        uncalibrated.check(OutputForm("int8"))
    uncalibrated.check(OutputForm("binary", unit_length=False))
    assert uncalibrated.shape(VECTORS, OutputForm("ubinary")).shape == (40, DIMENSION // 8)
