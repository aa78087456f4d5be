"""What values a graph's inner tensors take on real texts: runs graphs with more outputs. Changes and judges nothing."""

from collections.abc import Iterator, Sequence

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


def value_ranges(model: onnx.ModelProto, names: Sequence[str], texts: Sequence[Ids]) -> dict[str, tuple[float, float]]:
    """The least and the largest value of each tensor over all tokens of `texts`; 0 always lies between."""
    ranges: dict[str, tuple[float, float]] = {}
    for name, values in _observe(model, names, texts):
        low, high = ranges.get(name, (0.0, 0.0))
        ranges[name] = min(low, float(values.min())), max(high, float(values.max()))
    return ranges


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
