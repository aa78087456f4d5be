"""What each form of a vector costs and keeps: bytes, and the neighbours that an index finds by it. Judges nothing."""

import msgspec

from bundle.arrays import Vectors
from bundle.output_types import OUTPUT_TYPES, OutputType, comparable, convert
from bundle.quality import neighbours_kept


class Output(msgspec.Struct, frozen=True):
    """One output type, compared with float32."""

    bytes: int
    """Of one vector."""
    neighbours_kept: float
    """Share of each text's ten nearest neighbours that are still among the ten nearest."""


def measure_outputs(vectors: Vectors, *, output_range: float) -> dict[OutputType, Output]:
    """What every output type makes of float32[n, dim]."""
    return {output_type: _measure(vectors, output_type, output_range) for output_type in OUTPUT_TYPES}


def _measure(vectors: Vectors, output_type: OutputType, output_range: float) -> Output:
    codes = convert(vectors, output_type, output_range=output_range)
    floats = comparable(codes, output_type, dimension=vectors.shape[1])
    return Output(bytes=codes[0].nbytes, neighbours_kept=neighbours_kept(floats, vectors))
