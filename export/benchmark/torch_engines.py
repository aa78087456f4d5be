"""Torch behind the `Encoder` contract, as people use it, and the matrix products alone. For comparison only."""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from bundle.arrays import Ids, Offsets, Vectors
from bundle.onnx_encoder import OUTPUT
from bundle.padding import pad, padded_size

Arithmetic = Literal["fp32", "bf16"]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class TorchEncoder:
    """A student in torch (`export.graph.SentenceEncoder`), padded like everywhere."""

    def __init__(self, module: nn.Module, *, dimension: int, arithmetic: Arithmetic, compiled: bool = False) -> None:
        """`compiled`: through `torch.compile`, weights frozen, one compilation a shape."""
        self._module = module.eval().to(DTYPES[arithmetic])
        self._run: Callable[[Tensor, Tensor], dict[str, Tensor]] = self._module
        if compiled:
            torch._inductor.config.freezing = True
            self._run = torch.compile(self._module, dynamic=False)
        self._dimension = dimension
        self._description = f"torch {torch.__version__.partition('+')[0]} {arithmetic}{' compiled' if compiled else ''}"

    @property
    def dimension(self) -> int:
        """See `Encoder`."""
        return self._dimension

    @property
    def description(self) -> str:
        """See `Encoder`."""
        return self._description

    def cost(self, lengths: Sequence[int]) -> int:
        """Every text is padded to the longest one."""
        return padded_size(lengths)

    def encode(self, ids: Ids, offsets: Offsets) -> Vectors:
        """See `Encoder`."""
        padded, mask = (torch.from_numpy(array) for array in pad(ids, offsets))
        with torch.no_grad():
            vectors: Vectors = self._run(padded, mask)[OUTPUT].float().numpy()
        return vectors


class MatrixProducts:
    """The products of a model's tokens with its weights in bfloat16, and nothing else: a roof for every engine.

    The weights lie as oneDNN wants them. Attention's own products, which depend on the text, are left out.
    """

    def __init__(self, weights: Sequence[Tensor]) -> None:
        """`weights` are the layers' matrices in order, each [outputs, inputs]."""
        self._layers = [_packed(weight) for weight in weights]

    dimension = 0
    description = "bf16 matrix products alone"

    def cost(self, lengths: Sequence[int]) -> int:
        """Nothing is padded."""
        return sum(lengths)

    def encode(self, ids: Ids, offsets: Offsets) -> Vectors:
        """Multiply; what comes out means nothing."""
        with torch.no_grad():
            for width, multiply in self._layers:
                multiply(torch.ones(len(ids), width, dtype=torch.bfloat16))
        return np.empty((len(offsets) - 1, 0), dtype=np.float32)


def _packed(weight: Tensor) -> tuple[int, Callable[[Tensor], Tensor]]:
    matrix = weight.to(torch.bfloat16)
    packed = torch.ops.mkldnn._reorder_linear_weight(matrix)

    def multiply(tokens: Tensor) -> Tensor:
        product: Tensor = torch.ops.mkldnn._linear_pointwise(tokens, packed, None, "none", [], "")
        return product

    return matrix.shape[1], multiply
