"""fp32 graph → fp16 graph for NVIDIA GPUs: what CUDA has fused operators for is fused, the rest made half as wide.

Inputs and outputs stay as they are. Measures nothing; `docs/export.md` tells what of this was measured, and where.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.onnx_model import OnnxModel

from export.forms import Form
from export.fusion import Fusion, fuse

_FORM = Form(fused_attention=True, fused_normalization=True)
"""CUDA has kernels for both; neither has been timed there by this project."""


def halve(source: Path, target: Path) -> Fusion:
    """Write the fp32 graph `source` as an fp16 graph to `target`; returns what became of its attention."""
    with TemporaryDirectory(prefix="disco-half-") as folder:
        folded, fused = Path(folder) / "folded.onnx", Path(folder) / "fused.onnx"
        quant_pre_process(source, folded, skip_symbolic_shape=True)  # folds constants
        fusion = fuse(folded, fused, _FORM)
        model = OnnxModel(onnx.load(fused))
    # Shapes are not needed, and symbolic inference would print what it does not know.
    model.convert_float_to_float16(use_symbolic_shape_infer=False, disable_shape_infer=True, keep_io_types=True)
    onnx.save(model.model, target)
    return fusion
