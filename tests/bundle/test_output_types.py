from typing import Literal

import numpy as np
import pytest

from bundle.arrays import Vectors, normalize
from bundle.output_types import OUTPUT_TYPES, OutputType, calibrate_range, comparable, convert
from bundle.quality import cosine


@pytest.fixture(scope="module")
def vectors() -> Vectors:
    return normalize(np.random.default_rng(0).standard_normal((200, 40)).astype(np.float32))


@pytest.mark.parametrize(
    ("output_type", "dtype", "columns"),
    [
        ("float32", np.float32, 40),
        ("float16", np.float16, 40),
        ("int8", np.int8, 40),
        ("uint8", np.uint8, 40),
        ("binary", np.int8, 5),
        ("ubinary", np.uint8, 5),
    ],
)
def test_every_type_has_its_dtype_and_width(
    vectors: Vectors, output_type: OutputType, dtype: type[np.generic], columns: int
) -> None:
    converted = convert(vectors, output_type, output_range=0.5)
    assert converted.dtype == dtype
    assert converted.shape == (200, columns)
    assert output_type in OUTPUT_TYPES


def test_range_and_its_ends_meet_the_ends_of_eight_bits() -> None:
    vectors = np.array([[-9, -0.5, -0.25, 0, 0.25, 0.5, 9]], dtype=np.float32)
    assert convert(vectors, "uint8", output_range=0.5).tolist() == [[0, 0, 64, 128, 191, 255, 255]]
    assert convert(vectors, "int8", output_range=0.5).tolist() == [[-128, -128, -64, 0, 63, 127, 127]]


def test_bits_are_signs_most_significant_first() -> None:
    vectors = np.array([[1, -1, 0, 2, -3, 4, 5, 6, 7]], dtype=np.float32)
    assert convert(vectors, "ubinary", output_range=1).tolist() == [[0b10010111, 0b10000000]]
    assert convert(vectors, "binary", output_range=1).tolist() == [[0b10010111 - 128, 0]]


@pytest.mark.parametrize("output_type", OUTPUT_TYPES)
def test_what_an_index_compares_keeps_cosines(vectors: Vectors, output_type: OutputType) -> None:
    codes = convert(vectors, output_type, output_range=calibrate_range(vectors))
    floats = comparable(codes, output_type, dimension=40)
    assert floats.dtype == np.float32
    # Signs alone keep √(2 / π) ≈ 0.8 of a normal vector.
    assert cosine(vectors, floats).min() > (0.6 if "binary" in output_type else 0.999)


def test_cosines_of_bits_are_hamming_distances(vectors: Vectors) -> None:
    bits: tuple[OutputType, ...] = ("binary", "ubinary")
    for output_type in bits:
        floats = comparable(convert(vectors, output_type, output_range=1), output_type, dimension=40)
        different = ((vectors[0] > 0) != (vectors[1] > 0)).sum()
        assert cosine(floats[:1], floats[1:2]).item() == pytest.approx(1 - 2 * different / 40)


def test_the_calibrated_range_lets_one_component_in_ten_thousand_out() -> None:
    components = np.arange(-50_000, 50_000, dtype=np.float32).reshape(-1, 100)
    outside = np.abs(components) > calibrate_range(components)
    assert outside.mean() == pytest.approx(1e-4, rel=0.2)


@pytest.mark.parametrize("output_type", ["int8", "uint8", "binary", "ubinary"])
def test_sentence_transformers_gives_the_same_numbers_but_for_rounding(
    vectors: Vectors, output_type: Literal["int8", "uint8", "binary", "ubinary"]
) -> None:
    from sentence_transformers.util.quantization import quantize_embeddings  # loads torch

    ranges = np.stack([np.full(40, end, dtype=np.float32) for end in (-0.6, 0.6)])
    theirs = quantize_embeddings(vectors, output_type, ranges=ranges)
    ours = convert(vectors, output_type, output_range=0.6)
    assert ours.dtype == theirs.dtype
    difference = ours.astype(int) - theirs.astype(int)
    assert set(np.unique(difference)) <= ({0, 1} if output_type in ("int8", "uint8") else {0})
