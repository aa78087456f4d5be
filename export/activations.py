"""What values a graph's inner tensors take on real texts: runs graphs with more outputs. Changes and judges nothing."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import helper

from bundle.arrays import Ids

_Floats = NDArray[np.float32]


def largest_magnitudes(model: onnx.ModelProto, names: Sequence[str], texts: Sequence[Ids]) -> dict[str, _Floats]:
    """The largest magnitude of each channel, float32[channels], of each tensor over all tokens of `texts`."""
    largest: dict[str, _Floats] = {}
    for name, values in _observe(model, names, texts):
        peak = np.abs(values).reshape(-1, values.shape[-1]).max(axis=0)
        largest[name] = np.maximum(largest.get(name, peak), peak)
    return largest


def value_ranges(
    model: onnx.ModelProto, channels: Mapping[str, NDArray[np.bool_]], texts: Sequence[Ids]
) -> dict[str, tuple[float, float]]:
    """The least and the largest value of each tensor over all tokens of `texts`; 0 always lies between.

    `channels` says, for each tensor by its name, which of its channels count: bool[channels].
    """
    ranges = dict.fromkeys(channels, (0.0, 0.0))
    for name, values in _observe(model, list(channels), texts):
        low, high = ranges[name]
        counted = values[..., channels[name]]
        ranges[name] = float(counted.min(initial=low)), float(counted.max(initial=high))
    return ranges


def second_moments(
    model: onnx.ModelProto, names: Sequence[str], texts: Sequence[Ids]
) -> dict[str, NDArray[np.float64]]:
    """The sum of x xᵀ over all tokens x of `texts`, float64[channels, channels], for each tensor."""
    moments: dict[str, NDArray[np.float64]] = {}
    for name, values in _observe(model, names, texts):
        tokens = values.reshape(-1, values.shape[-1])
        moments[name] = moments.get(name, 0) + (tokens.T @ tokens).astype(np.float64)
    return moments


def _observe(model: onnx.ModelProto, names: Sequence[str], texts: Sequence[Ids]) -> Iterator[tuple[str, _Floats]]:
    if not names:
        return  # a run that asks for no outputs would be given all of them
    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    probed.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(probed.SerializeToString(), options, providers=["CPUExecutionProvider"])
    for ids in texts:  # one at a time: no padding distorts the picture
        feeds = {"input_ids": ids[None].astype(np.int64), "attention_mask": np.ones((1, len(ids)), dtype=np.int64)}
        yield from zip(names, session.run(list(names), feeds), strict=True)
