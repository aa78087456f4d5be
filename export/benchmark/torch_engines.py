"""Torch behind the `Encoder` contract, as people use it, and the matrix products alone. For comparison only."""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bundle.arrays import Ids, Offsets, Vectors
from bundle.onnx_encoder import OUTPUT
from bundle.padding import PaddingEncoder

Arithmetic = Literal["fp32", "bf16"]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class TorchEncoder(PaddingEncoder):
    """A student in torch (`export.graph.SentenceEncoder`), padded like everywhere."""

    def __init__(self, module: nn.Module, *, dimension: int, arithmetic: Arithmetic, compiled: bool = False) -> None:
        """`compiled`: through `torch.compile`, weights frozen, one compilation a shape."""
        self._module = module.eval().to(DTYPES[arithmetic])
        self._run: Callable[[Tensor, Tensor], dict[str, Tensor]] = self._module
        if compiled:
            torch._inductor.config.freezing = True
            self._run = torch.compile(self._module, dynamic=False)
        release = torch.__version__.partition("+")[0]
        description = f"torch {release} {arithmetic}{' compiled' if compiled else ''}"
        super().__init__(dimension=dimension, description=description)

    def _embed(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> Vectors:
        with torch.no_grad():
            found = self._run(torch.from_numpy(input_ids), torch.from_numpy(attention_mask))
        vectors: Vectors = found[OUTPUT].float().numpy()
        return vectors


class MatrixProducts:
    """The products of a model's tokens with its weights in bfloat16 or int8, and nothing else: a roof for every engine.

    The weights lie as oneDNN wants them. Attention's own products, which depend on the text, are left out.
    """

    def __init__(self, weights: Sequence[Tensor], arithmetic: Literal["bf16", "int8"]) -> None:
        """`weights` are the layers' matrices in order, each [outputs, inputs]."""
        pack, self._inputs = (packed_bf16, torch.bfloat16) if arithmetic == "bf16" else (packed_int8, torch.uint8)
        self._layers = [(weight.shape[1], pack(weight)) for weight in weights]
        self.description = f"{arithmetic} matrix products alone"

    dimension = 0

    def cost(self, lengths: Sequence[int]) -> int:
        """Nothing is padded."""
        return sum(lengths)

    def encode(self, ids: Ids, offsets: Offsets) -> Vectors:
        """Multiply; what comes out means nothing."""
        with torch.no_grad():
            for width, multiply in self._layers:
                multiply(torch.ones(len(ids), width, dtype=self._inputs))
        return np.empty((len(offsets) - 1, 0), dtype=np.float32)


Multiply = Callable[[Tensor], Tensor]


def packed_bf16(weight: Tensor) -> Multiply:
    """Multiply tokens, bfloat16[n, inputs], by `weight`."""
    packed = torch.ops.mkldnn._reorder_linear_weight(weight.to(torch.bfloat16))

    def multiply(tokens: Tensor) -> Tensor:
        product: Tensor = torch.ops.mkldnn._linear_pointwise(tokens, packed, None, "none", [], "")
        return product

    return multiply


def packed_int8(weight: Tensor) -> Multiply:
    """Multiply tokens, uint8[n, inputs], by `weight` as int8 with a scale for each output."""
    scales = weight.abs().amax(dim=1).float() / 127
    packed = torch.ops.onednn.qlinear_prepack((weight / scales[:, None]).round().to(torch.int8), None)
    zeros = torch.zeros(len(weight), dtype=torch.int)

    def multiply(tokens: Tensor) -> Tensor:
        product: Tensor = torch.ops.onednn.qlinear_pointwise(
            *(tokens, 1.0, 0, packed, scales, zeros, None),  # the tokens' scale and zero, the weights, no bias
            *(1.0, 0, torch.float32, "none", [], ""),  # nothing after the product
        )
        return product

    return multiply
