"""What the native kernels take: asked before they are loaded, so that a server falls back instead of failing to start.

The conditions are those of `native/src/model.cpp` and `native/src/module.cpp`, but for one: whether all weights are
finite takes a look at each of them, and is left to the kernels. Knows no graph.
"""

import numpy as np

from bundle.errors import UnsupportedModelError
from bundle.native_weights import Floats, Layer, Linear, Normalization, Quantizer, Weights

_WIDTH_STEP = 64
"""Widths are rounded up to it."""


def require_fit(weights: Weights, dimension: int) -> None:
    """Make sure that the kernels take `weights`, and that vectors of `dimension` components come out.

    Raises:
        UnsupportedModelError: they do not; the message names what differs.
    """
    longest, hidden = weights.positions.shape
    if hidden != dimension:
        raise UnsupportedModelError(f"tokens have {hidden} components, vectors {dimension}")
    _require(weights.words.ndim == 2 and weights.words.shape[1] == hidden, "words have other channels than positions")
    if weights.words.dtype == np.int8:
        _require_vector(weights.word_scales, len(weights.words), "scales of words")
    _require(longest > 0 and bool(weights.layers), "a model without positions or layers")
    _require(
        weights.heads > 0 and hidden > 0 and hidden % weights.heads == 0,
        f"{hidden} channels cannot be split into {weights.heads} heads",
    )
    _require_normalization(weights.embedding_norm, hidden, "embedding norm")
    is_int8 = weights.layers[0].qkv.input is not None
    inner = weights.layers[0].up.weights.shape[1]
    for number, layer in enumerate(weights.layers):
        _require_layer(layer, hidden, f"layer {number}")
        _require(
            all((linear.input is not None) == is_int8 for linear in (layer.qkv, layer.output, layer.up, layer.down)),
            f"layer {number}: int8 and fp32 products in one model",
        )
        _require(
            _rounded_up(layer.up.weights.shape[1]) == _rounded_up(inner),
            f"layer {number}: {layer.up.weights.shape[1]} inner channels, those before have {inner}",
        )


def _require_layer(layer: Layer, hidden: int, name: str) -> None:
    inner = layer.up.weights.shape[1]
    _require_linear(layer.qkv, (hidden, 3 * hidden), f"{name}, query-key-value")
    _require_linear(layer.output, (hidden, hidden), f"{name}, attention output")
    _require_linear(layer.up, (hidden, inner), f"{name}, first feed-forward product")
    _require_linear(layer.down, (inner, hidden), f"{name}, second feed-forward product")
    _require_normalization(layer.attention_norm, hidden, f"{name}, attention norm")
    _require_normalization(layer.output_norm, hidden, f"{name}, output norm")
    for linear in (layer.qkv, layer.output, layer.up):
        _require(not linear.outliers, f"{name}: outliers elsewhere than in the second feed-forward product")


def _require_linear(linear: Linear, shape: tuple[int, int], name: str) -> None:
    _require(linear.weights.shape == shape, f"{name}: is {linear.weights.shape}, not {shape}")
    inputs, outputs = shape
    if linear.bias is not None:
        _require_vector(linear.bias, outputs, f"{name}, bias")
    if linear.input is None:
        return
    _require_vector(linear.scales, outputs, f"{name}, scales")
    _require_quantizer(linear.input, inputs, name)
    if linear.outliers:
        _require(all(0 <= channel < inputs for channel in linear.outliers), f"{name}: outliers that are no inputs")
        rows = linear.outlier_rows
        _require(rows is not None and rows.shape == (len(linear.outliers), outputs), f"{name}: rows of outliers")


def _require_quantizer(quantizer: Quantizer, inputs: int, name: str) -> None:
    scale = np.float32(quantizer.scale)
    with np.errstate(divide="ignore", over="ignore"):
        usable = scale > 0 and np.isfinite(scale) and np.isfinite(np.float32(1) / scale)
    _require(bool(usable), f"{name}: its input's scale is {quantizer.scale:.4g}, too small or large to divide by")
    if quantizer.smoothing is not None:
        _require_vector(quantizer.smoothing, inputs, f"{name}, smoothing")


def _require_normalization(norm: Normalization, hidden: int, name: str) -> None:
    _require_vector(norm.gamma, hidden, f"{name}, gamma")
    _require_vector(norm.beta, hidden, f"{name}, beta")
    _require(np.float32(norm.epsilon) > 0, f"{name}: epsilon is {norm.epsilon}")


def _require_vector(values: Floats | None, size: int, name: str) -> None:
    _require(values is not None and values.shape == (size,), f"{name}: not a vector of {size}")


def _require(fits: object, message: str) -> None:
    if not fits:
        raise UnsupportedModelError(message)


def _rounded_up(width: int) -> int:
    return -(-width // _WIDTH_STEP) * _WIDTH_STEP
