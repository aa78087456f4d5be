"""Fusing operators: what a layer does between its input and the output product becomes one. Measures nothing.

What is fused is the form's choice (`export.forms`); `docs/LOG.md` has what was measured of it.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnxruntime.transformers.fusion_options import FusionOptions
from onnxruntime.transformers.optimizer import optimize_model

from export.forms import Form

FUSED = frozenset({"bert", "roberta", "xlm-roberta"})
"""The families whose attention ONNX Runtime's optimizer finds; mpnet's relative positions have no fused form."""


@dataclass(frozen=True)
class Fusion:
    """What became of a graph's attention."""

    layers: int
    fused: int
    wanted: bool = True


def fuse(source: Path, target: Path, form: Form) -> Fusion:
    """Write the graph `source` to `target` with what `form` asks for fused where the optimizer knows it.

    The products of query, key and value become one of three times the width. Families outside of `FUSED` keep their
    attention as it is.
    """
    options = FusionOptions("bert")
    options.enable_attention = form.fused_attention
    options.enable_gelu = options.enable_gelu_approximation = form.fast_gelu
    options.enable_layer_norm = options.enable_skip_layer_norm = form.fused_normalization
    for fusion in ("bias_gelu", "bias_skip_layer_norm", "embed_layer_norm"):
        setattr(options, f"enable_{fusion}", False)
    options.enable_shape_inference = False  # nothing here needs shapes, and what fails would be printed
    # The mask as it comes: one that is reduced to lengths would misread texts padded on the left.
    options.use_raw_attention_mask()
    fused = optimize_model(str(source), model_type="bert", optimization_options=options, opt_level=0)
    onnx.save(fused.model, target)
    found = Counter(node.op_type for node in fused.model.graph.node)
    return Fusion(layers=found["Attention"] + found["Softmax"], fused=found["Attention"], wanted=form.fused_attention)
