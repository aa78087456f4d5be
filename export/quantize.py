"""fp32 graph → int8 graph, the steps in their order: fold, fuse, tame, quantise products, quantise tables."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process

from bundle.arrays import Ids
from bundle.cpu import Cpu, saturates
from export.forms import Form
from export.fusion import Fusion, fuse
from export.outliers import tame_outliers
from export.products import quantize_products
from export.tables import quantize_tables


def quantize(source: Path, target: Path, *, texts: Sequence[Ids], cpu: Cpu, form: Form) -> Fusion:
    """Write the fp32 graph `source` as an int8 graph to `target`; returns what became of its attention.

    `texts` (int32[length] each) show how far activations reach and where the outliers are.
    """
    with TemporaryDirectory(prefix="disco-quantize-") as folder:
        folded, fused, tamed, products = (
            Path(folder) / f"{step}.onnx" for step in ("folded", "fused", "tamed", "int8")
        )
        # Folds constants. Shapes are not needed: only products with constant matrices are quantised.
        quant_pre_process(source, folded, skip_symbolic_shape=True)
        fusion = fuse(folded, fused, form)
        kept = tame_outliers(fused, tamed, texts, strength=form.smoothing) if form.smoothing else []
        prepared = tamed if form.smoothing else fused
        if form.fixed_scales:
            quantize_products(prepared, products, texts, kept=kept, seven_bits=saturates(cpu))
        else:
            quantize_dynamic(
                prepared,
                products,
                op_types_to_quantize=["MatMul", "Attention"],
                nodes_to_exclude=kept,
                per_channel=True,
                reduce_range=saturates(cpu),
                weight_type=QuantType.QInt8,
                extra_options={"MatMulConstBOnly": True},
            )
        if form.int8_tables:
            quantize_tables(products, target)
        else:
            shutil.copyfile(products, target)
    return fusion
