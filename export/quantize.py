"""fp32 graph → int8 graph, the steps in their order: fold, fuse, tame, quantise products, quantise tables."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from onnxruntime.quantization.shape_inference import quant_pre_process

from bundle.arrays import Ids
from bundle.cpu import Cpu, saturates
from export.fusion import Fusion, fuse_attention
from export.outliers import tame_outliers
from export.products import quantize_products
from export.tables import quantize_tables


def quantize(source: Path, target: Path, texts: Sequence[Ids], *, cpu: Cpu, smoothing: float) -> Fusion:
    """Write the fp32 graph `source` as an int8 graph to `target`; returns what became of its attention.

    `texts` (int32[length] each) show how far activations reach and where the outliers are; `smoothing` 0 leaves these
    alone (see `export.outliers`).
    """
    with TemporaryDirectory(prefix="disco-quantize-") as folder:
        folded, fused, tamed, products = (
            Path(folder) / f"{step}.onnx" for step in ("folded", "fused", "tamed", "int8")
        )
        # Folds constants. Shapes are not needed: only products with constant matrices are quantised.
        quant_pre_process(source, folded, skip_symbolic_shape=True)
        fusion = fuse_attention(folded, fused)
        kept = tame_outliers(fused, tamed, texts, strength=smoothing) if smoothing else []
        quantize_products(tamed if smoothing else fused, products, texts, kept=kept, seven_bits=saturates(cpu))
        quantize_tables(products, target)
    return fusion
