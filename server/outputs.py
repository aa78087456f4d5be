"""Vectors in the form a client asked for: dimensions, length, numeric type. Knows neither routes nor encodings."""

import math
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from bundle.arrays import Vectors, normalize
from bundle.output_types import OutputType, convert
from server.errors import InvalidRequestError


@dataclass(frozen=True, slots=True)
class OutputForm:
    """What a client asked for."""

    output_type: OutputType = "float32"
    unit_length: bool = True
    """Otherwise vectors stay as the model gives them."""
    dimensions: int | None = None
    """So many leading components; None: all."""


class Outputs:
    """Checks forms against one model, and puts its vectors into them."""

    def __init__(self, *, dimension: int, normalized: bool, output_range: float | None) -> None:
        """`normalized`: the model's vectors are of length 1 already; `output_range`: what 8 bits reach, if known."""
        self._dimension = dimension
        self._normalized = normalized
        self._output_range = output_range

    def check(self, form: OutputForm) -> None:
        """Refuse what the model cannot give, before any work is done for it.

        Raises:
            InvalidRequestError: the message tells the offending value and what is possible.
        """
        if form.dimensions is not None and form.dimensions < 1:
            raise InvalidRequestError(f"`dimensions` should be positive. Given: {form.dimensions}")
        if form.dimensions is not None and form.dimensions > self._dimension:
            raise InvalidRequestError(
                f"`dimensions` should be smaller than the maximum embedding dimension. "
                f"Given: {form.dimensions}, maximum: {self._dimension}"
            )
        if form.output_type not in ("int8", "uint8"):
            return
        if not form.unit_length:
            raise InvalidRequestError(f"`output_dtype` {form.output_type} needs vectors of length 1: set `normalize`")
        if self._output_range is None:
            raise InvalidRequestError(
                f"`output_dtype` {form.output_type} needs a calibrated range, which this model's bundle lacks; "
                "export it again"
            )

    def shape(self, vectors: Vectors, form: OutputForm) -> NDArray[Any]:
        """Turn the model's float32[n, dim] into what `form` says (see `bundle.output_types.convert`)."""
        cut = form.dimensions is not None and form.dimensions < self._dimension
        if cut:
            vectors = vectors[:, : form.dimensions].copy()
        if form.unit_length and (cut or not self._normalized):
            vectors = normalize(vectors)
        # What is left of a vector is stretched to length 1 again, and its components grow as the root of that.
        stretch = math.sqrt(self._dimension / vectors.shape[1])
        return convert(vectors, form.output_type, output_range=(self._output_range or 1.0) * stretch)
