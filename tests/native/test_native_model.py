"""Weights that do not fit or are not finite are refused by name; good ones are packed once."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bundle.bert_graph import find_weights
from bundle.native_encoder import NativeEncoder
from bundle.native_weights import Layer, Weights
from bundle.onnx_file import OnnxGraph, read_onnx
from tests.bert import Graphs

native = pytest.importorskip("disco_native", reason="disco-native is not built: make native")


OUTSIDE: dict[str, Any] = {"outliers": [768], "outlier_rows": np.zeros((1, 384), np.float32)}


def weights_of(graphs: Graphs, precision: str) -> Weights:
    graph = read_onnx(getattr(graphs, precision))
    return find_weights(graph, dimension=graphs.shape.hidden, pooling="mean", normalized=True)


def spoilt(array: Any, value: float) -> Any:
    copy = array.copy()
    copy.reshape(-1)[array.size // 2] = value
    return copy


def _in_layer(change: Callable[[Layer], Layer]) -> Callable[[Weights], Weights]:
    return lambda weights: replace(weights, layers=[*weights.layers[:-1], change(weights.layers[-1])])


def _linear(name: str, field: str, value: float) -> Callable[[Weights], Weights]:
    def change(layer: Layer) -> Layer:
        linear = getattr(layer, name)
        return replace(layer, **{name: replace(linear, **{field: spoilt(getattr(linear, field), value)})})

    return _in_layer(change)


def _changed(name: str, field: str, change: Callable[[Any], Any], **more: Any) -> Callable[[Weights], Weights]:
    def changed(layer: Layer) -> Layer:
        part: Any = getattr(layer, name)
        return replace(layer, **{name: replace(part, **{field: change(getattr(part, field))}, **more)})

    return _in_layer(changed)


def _norm(layer: Layer) -> Layer:
    return replace(layer, output_norm=replace(layer.output_norm, gamma=spoilt(layer.output_norm.gamma, np.inf)))


@pytest.mark.parametrize(
    ("precision", "change", "named"),
    [
        ("fp32", lambda weights: replace(weights, words=spoilt(weights.words, np.nan)), "token table: entry"),
        (
            "fp32",
            lambda weights: replace(weights, positions=spoilt(weights.positions, np.nan)),
            "position table: entry",
        ),
        ("fp32", _linear("up", "weights", np.nan), "layer 2, first feed-forward product: entry"),
        ("fp32", _linear("output", "bias", -np.inf), "layer 2, attention output, bias: entry"),
        ("int8", _linear("qkv", "scales", np.nan), "layer 2, query-key-value, scales of columns: entry"),
        (
            "int8",
            lambda weights: replace(weights, word_scales=spoilt(weights.word_scales, np.inf)),
            "token table, scales",
        ),
        ("int8", _in_layer(_norm), "layer 2, output norm: entry"),
    ],
)
def test_what_is_not_finite_is_refused_by_name(
    minilm: Graphs, precision: str, change: Callable[[Weights], Weights], named: str
) -> None:
    with pytest.raises(ValueError, match=f"^{named}.* is not finite"):
        native.Model(change(weights_of(minilm, precision)))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda weights: replace(weights, heads=7), "384 channels cannot be split into 7 heads"),
        (lambda weights: replace(weights, layers=[]), "without layers"),
        (lambda weights: replace(weights, words=weights.words[:, :380].copy()), "380 channels, positions have 384"),
        (_in_layer(lambda layer: replace(layer, up=layer.down)), "first feed-forward product: "),
        (_in_layer(lambda layer: replace(layer, output=layer.qkv)), "attention output: is 384 × 1152, not 384 × 384"),
        (_in_layer(lambda layer: replace(layer, down=replace(layer.down, **OUTSIDE))), "no input 768"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(minilm: Graphs, change: Callable[[Weights], Weights], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        native.Model(change(weights_of(minilm, "int8")))


def _as_doubles(array: Any) -> Any:
    return array.astype(np.float64)


@pytest.mark.parametrize(
    ("precision", "change", "named"),
    [
        ("int8", _changed("output_norm", "gamma", _as_doubles), "gamma: must be a contiguous vector of float32"),
        ("int8", _changed("output_norm", "epsilon", str), "epsilon: must be a number"),
        ("int8", _changed("down", "bias", lambda bias: bias.tolist()), "bias: must be a contiguous vector of float32"),
        ("int8", _changed("down", "outliers", lambda _: [0.5]), "outliers: must be a list of whole numbers"),
        ("int8", _changed("down", "outlier_rows", lambda _: None, outliers=[0]), "outlier_rows: must be a contiguous"),
        ("fp32", _changed("up", "weights", _as_doubles), "first feed-forward product: weights must be a contiguous"),
        ("fp32", lambda weights: replace(weights, positions=_as_doubles(weights.positions)), "positions: must be a"),
        ("fp32", lambda weights: replace(weights, positions=weights.positions.T), "positions: must be a contiguous"),
        ("fp32", lambda weights: replace(weights, heads=0.5), "heads: must be a whole number"),
        ("fp32", lambda weights: replace(weights, tanh_gelu=None), "tanh_gelu: must be True or False"),
    ],
)
def test_what_is_of_another_type_is_refused_by_name_and_never_converted(
    minilm: Graphs, precision: str, change: Callable[[Weights], Weights], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        native.Model(change(weights_of(minilm, precision)))


def test_encoders_of_one_graph_share_its_weights(minilm: Graphs, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []

    def counting(path: Path) -> OnnxGraph:
        read.append(path)
        return read_onnx(path)

    monkeypatch.setattr("bundle.native_encoder.read_onnx", counting)
    path = minilm.fp32.with_name("copy.onnx")
    path.write_bytes(minilm.int8.read_bytes())

    def opened() -> NativeEncoder:
        return NativeEncoder(path, dimension=384, pooling="mean", normalized=True)

    first, second = opened(), opened()
    assert len(read) == 1
    assert first is not second
    del first, second
    opened()
    assert len(read) == 2, "nobody needed them any more"
