"""The weights of a BERT-type encoder by name, as the native kernels take them. Knows no file.

Matrices are laid out inputs × outputs. `disco_native` packs them; `bundle.bert_graph` finds them in a graph.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Quantizer:
    """How the input of an int8 product becomes bytes: nearest(x · smoothing / scale) + zero, in 0…255."""

    scale: float
    zero: int
    smoothing: Floats | None
    """float32[inputs]; None: 1 everywhere."""


@dataclass(frozen=True)
class Linear:
    """x · weights + bias, in fp32, or in int8 with scales for columns and a quantiser for the input."""

    weights: Floats | NDArray[np.int8]
    bias: Floats | None
    scales: Floats | None = None
    input: Quantizer | None = None
    outliers: list[int] = field(default_factory=list)
    """Inputs that are multiplied in fp32 besides."""
    outlier_rows: Floats | None = None
    """float32[outliers, outputs]."""


@dataclass(frozen=True)
class Normalization:
    """Layer normalisation."""

    gamma: Floats
    beta: Floats
    epsilon: float


@dataclass(frozen=True)
class Layer:
    """Attention, sum, normalisation, feed-forward pair, sum, normalisation."""

    qkv: Linear
    """Query, key and value side by side."""
    output: Linear
    attention_norm: Normalization
    up: Linear
    down: Linear
    output_norm: Normalization


@dataclass(frozen=True)
class Weights:
    """A whole encoder."""

    words: Floats | NDArray[np.int8]
    """float32 or int8[vocabulary, hidden]."""
    word_scales: Floats | None
    """float32[vocabulary], where `words` are int8."""
    positions: Floats
    """float32[longest, hidden], the token type's row added."""
    embedding_norm: Normalization
    heads: int
    tanh_gelu: bool
    pools_first: bool
    """The first token's vector instead of the mean of all."""
    normalizes: bool
    layers: list[Layer]
