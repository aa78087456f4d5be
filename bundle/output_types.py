"""The forms a vector may be handed out in: floats, 8-bit integers, bits. Knows neither models nor HTTP.

The layouts are those of sentence-transformers' `quantize_embeddings` (its `ranges` being −range and +range in every
dimension), so vectors made there and here can lie in one index.
"""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from bundle.arrays import Vectors

OutputType: TypeAlias = Literal["float32", "float16", "int8", "uint8", "binary", "ubinary"]
OUTPUT_TYPES: tuple[OutputType, ...] = get_args(OutputType)

_LEVELS = 255
_COVERED = 0.9999


def calibrate_range(vectors: Vectors) -> float:
    """The largest magnitude that 8 bits should reach: all but 1 in 10,000 components of float32[n, dim] are within.

    One range for all dimensions, and symmetric, so that cosines of 8-bit vectors are those of the float ones but for
    rounding; a few clipped components cost less than coarser steps for all.
    """
    return float(np.quantile(np.abs(vectors), _COVERED))


def convert(vectors: Vectors, output_type: OutputType, *, output_range: float) -> NDArray[Any]:
    """Hand float32[n, dim] out as `output_type`.

    float16[n, dim]; int8[n, dim] and uint8[n, dim], [−range, range] mapped to their 256 values, the rest clipped;
    `ubinary` uint8[n, ⌈dim / 8⌉], the bits of v > 0, most significant first, and `binary` the same minus 128 as int8.
    """
    return _CONVERSIONS[output_type](vectors, output_range)


def comparable(codes: NDArray[Any], output_type: OutputType, *, dimension: int) -> Vectors:
    """Turn what `convert` made into float32[n, dim] whose cosines are the similarities an index would rank by.

    Integers as they are (`uint8` less its middle), bits as ±1, so that the cosine is 1 − 2 · Hamming distance / dim.
    """
    if output_type in ("binary", "ubinary"):
        unsigned = (codes.astype(np.int16) + 128).astype(np.uint8) if output_type == "binary" else codes
        bits = np.unpackbits(unsigned, axis=1, count=dimension)
        return 2 * bits.astype(np.float32) - 1
    middle = _LEVELS / 2 if output_type == "uint8" else 0
    floats: Vectors = codes.astype(np.float32) - np.float32(middle)
    return floats


def _to_uint8(vectors: Vectors, output_range: float) -> NDArray[np.uint8]:
    steps = np.rint((vectors + np.float32(output_range)) * np.float32(_LEVELS / (2 * output_range)))
    codes: NDArray[np.uint8] = np.clip(steps, 0, _LEVELS).astype(np.uint8)
    return codes


def _to_signed(unsigned: NDArray[np.uint8]) -> NDArray[np.int8]:
    return (unsigned.astype(np.int16) - 128).astype(np.int8)


def _to_bits(vectors: Vectors, _: float) -> NDArray[np.uint8]:
    return np.packbits(vectors > 0, axis=1)


_CONVERSIONS: dict[OutputType, Callable[[Vectors, float], NDArray[Any]]] = {
    "float32": lambda vectors, _: vectors,
    "float16": lambda vectors, _: vectors.astype(np.float16),
    "int8": lambda vectors, output_range: _to_signed(_to_uint8(vectors, output_range)),
    "uint8": _to_uint8,
    "binary": lambda vectors, output_range: _to_signed(_to_bits(vectors, output_range)),
    "ubinary": _to_bits,
}
