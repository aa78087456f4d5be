"""What `src/module.cpp` offers."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

class Quantizer(Protocol):
    """How a product's input becomes bytes: nearest(x · smoothing / scale) + zero."""

    @property
    def scale(self) -> float: ...
    @property
    def zero(self) -> int: ...
    @property
    def smoothing(self) -> NDArray[np.float32] | None: ...

class Linear(Protocol):
    """x · weights + bias; weights are float32 or int8[inputs, outputs], which need what follows bias."""

    @property
    def weights(self) -> NDArray[np.float32] | NDArray[np.int8]: ...
    @property
    def bias(self) -> NDArray[np.float32] | None: ...
    @property
    def scales(self) -> NDArray[np.float32] | None: ...
    @property
    def input(self) -> Quantizer | None: ...
    @property
    def outliers(self) -> list[int]: ...
    @property
    def outlier_rows(self) -> NDArray[np.float32] | None: ...

class Normalization(Protocol):
    """Layer normalisation."""

    @property
    def gamma(self) -> NDArray[np.float32]: ...
    @property
    def beta(self) -> NDArray[np.float32]: ...
    @property
    def epsilon(self) -> float: ...

class Layer(Protocol):
    """A transformer layer that normalises after each of its two sums."""

    @property
    def qkv(self) -> Linear: ...
    @property
    def output(self) -> Linear: ...
    @property
    def attention_norm(self) -> Normalization: ...
    @property
    def up(self) -> Linear: ...
    @property
    def down(self) -> Linear: ...
    @property
    def output_norm(self) -> Normalization: ...

class Weights(Protocol):
    """A model."""

    @property
    def words(self) -> NDArray[np.float32] | NDArray[np.int8]: ...
    @property
    def word_scales(self) -> NDArray[np.float32] | None: ...
    @property
    def positions(self) -> NDArray[np.float32]: ...
    @property
    def embedding_norm(self) -> Normalization: ...
    @property
    def heads(self) -> int: ...
    @property
    def tanh_gelu(self) -> bool: ...
    @property
    def pools_first(self) -> bool: ...
    @property
    def normalizes(self) -> bool: ...
    @property
    def layers(self) -> list[Layer]: ...

class LengthError(ValueError):
    """A text has more tokens than the model has positions."""

class Model:
    """Weights in the kernels' layout; immutable, encoders share it."""

    def __init__(self, weights: Weights) -> None:
        """Arrays must be contiguous and of the types above: none is converted.

        Raises ValueError, naming the tensor, for other types, shapes that do not fit and values that are not finite.
        """

    @property
    def dimension(self) -> int: ...
    @property
    def precision(self) -> str: ...

class Encoder:
    """A model, an instruction set and memory to compute in; for one thread at a time."""

    def __init__(self, model: Model, isa: str, threads: int = 1) -> None:
        """Raises ValueError where there is no such instruction set, or the CPU lacks it."""

    def encode(self, ids: NDArray[np.int32], offsets: NDArray[np.int32], *, pooled: bool) -> NDArray[np.float32]:
        """A vector for each text, or each token.

        Raises IndexError for ids outside of the vocabulary, LengthError for texts that are too long, RuntimeError where
        another thread is in the same encoder.
        """

def instruction_sets() -> list[str]:
    """Those this CPU has, fastest first."""

def apply(isa: str, function: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """For tests: exp2, gelu_erf, tanh_gelu, bytes or halves of `values`, as one row; ValueError for others."""

def multiply(isa: str, rows: NDArray[np.float32], linear: Linear) -> NDArray[np.float32]:
    """For tests: the micro-kernel's sums."""
