"""What the kernels refuse is refused before they are asked, and by the kernels as well where they are built."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bundle.errors import UnsupportedModelError
from bundle.native_limits import require_fit
from bundle.native_weights import Floats, Layer, Linear, Normalization, Quantizer, Weights

HIDDEN, INNER = 24, 40

Change = Callable[[Weights], Weights]


def ones(*shape: int) -> Floats:
    return np.ones(shape, np.float32)


def linear(inputs: int, outputs: int) -> Linear:
    quantizer = Quantizer(0.1, 128, ones(inputs))
    weights = np.ones((inputs, outputs), np.int8)
    return Linear(weights=weights, bias=ones(outputs), scales=ones(outputs), input=quantizer)


def model() -> Weights:
    norm = Normalization(ones(HIDDEN), ones(HIDDEN), 1e-12)
    layer = Layer(
        qkv=linear(HIDDEN, 3 * HIDDEN),
        output=linear(HIDDEN, HIDDEN),
        attention_norm=norm,
        up=linear(HIDDEN, INNER),
        down=replace(linear(INNER, HIDDEN), outliers=[3, 5], outlier_rows=ones(2, HIDDEN)),
        output_norm=norm,
    )
    return Weights(
        words=np.ones((7, HIDDEN), np.int8),
        word_scales=ones(7),
        positions=ones(9, HIDDEN),
        embedding_norm=norm,
        heads=3,
        tanh_gelu=False,
        pools_first=False,
        normalizes=True,
        layers=[layer, layer],
    )


def last(change: Callable[[Layer], Layer]) -> Change:
    return lambda weights: replace(weights, layers=[*weights.layers[:-1], change(weights.layers[-1])])


def part(name: str, **fields: Any) -> Change:
    return last(lambda layer: replace(layer, **{name: replace(getattr(layer, name), **fields)}))


def quantizer(name: str, **fields: Any) -> Change:
    def change(layer: Layer) -> Layer:
        product: Linear = getattr(layer, name)
        assert product.input is not None
        changed: dict[str, Any] = {name: replace(product, input=replace(product.input, **fields))}
        return replace(layer, **changed)

    return last(change)


def wider(layer: Layer) -> Layer:
    return replace(layer, up=linear(HIDDEN, 80), down=linear(80, HIDDEN))


FP32: dict[str, Any] = {"weights": ones(HIDDEN, HIDDEN), "input": None, "scales": None}

CHANGES: dict[str, tuple[Change, str]] = {
    "words of another width": (lambda w: replace(w, words=w.words[:, 1:].copy()), "words have other channels"),
    "too few scales of words": (lambda w: replace(w, word_scales=ones(6)), "scales of words: not a vector of 7"),
    "no layers": (lambda w: replace(w, layers=[]), "a model without"),
    "heads that do not divide": (lambda w: replace(w, heads=7), "24 channels cannot be split into 7 heads"),
    "no heads": (lambda w: replace(w, heads=0), "cannot be split into 0 heads"),
    "no epsilon": (part("output_norm", epsilon=0.0), "output norm: epsilon is 0"),
    "gamma": (part("output_norm", gamma=ones(HIDDEN + 1)), "output norm, gamma: not a vector of 24"),
    "beta": (part("attention_norm", beta=ones(1)), "attention norm, beta: not a vector of 24"),
    "shape": (part("output", weights=np.ones((HIDDEN, 25), np.int8)), r"layer 1, attention output: is \(24, 25\), not"),
    "bias": (part("qkv", bias=ones(HIDDEN)), "query-key-value, bias: not a vector of 72"),
    "scales": (part("up", scales=ones(1)), "first feed-forward product, scales: not a vector of 40"),
    "smoothing": (quantizer("up", smoothing=ones(1)), "first feed-forward product, smoothing: not a vector of 24"),
    "scale of zero": (quantizer("qkv", scale=0.0), "query-key-value: its input's scale is 0"),
    "negative scale": (quantizer("qkv", scale=-1.0), "query-key-value: its input's scale is -1"),
    "scale without inverse": (quantizer("down", scale=4.6e-41), "second .* product: its input's scale is 4.6e-41"),
    "infinite scale": (quantizer("down", scale=float("inf")), "scale is inf"),
    "no number": (quantizer("down", scale=float("nan")), "scale is nan"),
    "outliers elsewhere": (part("up", outliers=[0], outlier_rows=ones(1, INNER)), "outliers elsewhere"),
    "an outlier that is no input": (part("down", outliers=[0, INNER]), "outliers that are no inputs"),
    "rows of outliers": (part("down", outlier_rows=ones(1, HIDDEN)), "rows of outliers"),
    "two precisions": (part("output", **FP32), "int8 and fp32 products in one model"),
    "other inner widths": (last(wider), "80 inner channels, those before have 40"),
}


within_the_same_rounding = last(lambda layer: replace(layer, up=linear(HIDDEN, 64), down=linear(64, HIDDEN)))


def test_what_fits_is_taken() -> None:
    require_fit(model(), HIDDEN)
    require_fit(within_the_same_rounding(model()), HIDDEN)


def test_the_kernels_take_the_same() -> None:
    native = pytest.importorskip("disco_native", reason="disco-native is not built: make native")
    assert native.Model(model()).dimension == HIDDEN
    assert native.Model(within_the_same_rounding(model())).dimension == HIDDEN


@pytest.mark.parametrize(("change", "reason"), CHANGES.values(), ids=list(CHANGES))
def test_what_does_not_fit_is_refused(change: Change, reason: str) -> None:
    with pytest.raises(UnsupportedModelError, match=reason):
        require_fit(change(model()), HIDDEN)


@pytest.mark.parametrize("change", [change for change, _ in CHANGES.values()], ids=list(CHANGES))
def test_the_kernels_refuse_the_same(change: Change) -> None:
    native = pytest.importorskip("disco_native", reason="disco-native is not built: make native")
    with pytest.raises(ValueError):  # noqa: PT011  # each side has words of its own
        native.Model(change(model()))


def test_vectors_of_another_size_than_tokens_are_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="tokens have 24 components, vectors 8"):
        require_fit(model(), 8)
