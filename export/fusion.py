"""Fusing attention: what a layer does between its input and the output product becomes one operator. Measures nothing.

Only attention is fused; `docs/LOG.md` has what was measured of the other fusions.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnxruntime.transformers.fusion_options import FusionOptions
from onnxruntime.transformers.optimizer import optimize_model

FUSED = frozenset({"bert", "roberta", "xlm-roberta"})
"""The families whose attention ONNX Runtime's optimizer finds; mpnet's relative positions have no fused form."""


@dataclass(frozen=True)
class Fusion:
    """What became of a graph's attention."""

    layers: int
    fused: int


def fuse_attention(source: Path, target: Path) -> Fusion:
    """Write the graph `source` to `target` with attention fused where its form is known.

    The products of query, key and value become one of three times the width. Families outside of `FUSED` stay as they
    are.
    """
    options = FusionOptions("bert")
    for fusion in ("gelu", "bias_gelu", "layer_norm", "skip_layer_norm", "bias_skip_layer_norm", "embed_layer_norm"):
        setattr(options, f"enable_{fusion}", False)
    options.enable_shape_inference = False  # nothing here needs shapes, and what fails would be printed
    # The mask as it comes: one that is reduced to lengths would misread texts padded on the left.
    options.use_raw_attention_mask()
    fused = optimize_model(str(source), model_type="bert", optimization_options=options, opt_level=0)
    onnx.save(fused.model, target)
    found = Counter(node.op_type for node in fused.model.graph.node)
    return Fusion(layers=found["Attention"] + found["Softmax"], fused=found["Attention"])
