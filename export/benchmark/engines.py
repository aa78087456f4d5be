"""Every engine that can run one student here, ready to be timed. Measures nothing."""

from collections.abc import Callable
from pathlib import Path

import torch
from onnx import TensorProto
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor

from bundle.arrays import Ids
from bundle.choice import has_fast_native, is_installed
from bundle.cpu import detect_cpu
from bundle.errors import UnsupportedGraphError
from bundle.native_encoder import NativeEncoder
from bundle.onnx_encoder import OnnxEncoder
from bundle.openvino_encoder import OpenVinoEncoder
from bundle.runtime import Encoder
from export.benchmark.plain_session import PlainSession
from export.benchmark.torch_engines import Arithmetic, MatrixProducts, TorchEncoder
from export.forms import Form
from export.graph import export_graph, open_sentence_encoder, optimize_o3
from export.quantize import quantize
from export.source import Student

ROOF, INT8_ROOF = "bf16 matrix products alone", "int8 matrix products alone"
BASELINE = "ONNX Runtime, O3 + quantize_dynamic"
"""What one gets by following the tutorials."""
OURS = "ONNX Runtime, int8 of this project"
OUR_GRAPH = "ours.onnx"
NATIVE_BF16 = "native, bf16"
NATIVE_INT8 = "native, the same int8"


def open_engines(
    student: Student, texts: list[Ids], workspace: Path, *, tell: Callable[[str], None]
) -> dict[str, Encoder]:
    """All engines by name, slowest first as far as that is known, each with one thread.

    `texts` (int32[length] each) are what int8 is calibrated on; graphs are written to `workspace`, ours as OUR_GRAPH.
    `tell` is told of an engine that is here and cannot run the student.
    """
    torch.set_num_threads(1)
    dimension = student.dimension
    ours = workspace / OUR_GRAPH
    plain, dynamic, dynamic_o3 = (workspace / f"{name}.onnx" for name in ("plain", "dynamic", "dynamic_o3"))
    export_graph(student, plain)
    o3 = optimize_o3(student, plain, workspace)
    for source, target in ((plain, dynamic), (o3, dynamic_o3)):
        quantize_dynamic(
            source,
            target,
            per_channel=True,
            weight_type=QuantType.QInt8,
            # What fused operators give is of no type that the quantiser knows.
            extra_options={"MatMulConstBOnly": True, "DefaultTensorType": TensorProto.FLOAT},
        )
    quantize(plain, ours, texts=texts, cpu=detect_cpu(), form=Form())

    def torch_engine(arithmetic: Arithmetic, *, compiled: bool = False) -> Encoder:
        module = open_sentence_encoder(student)
        return TorchEncoder(module, dimension=dimension, arithmetic=arithmetic, compiled=compiled)

    engines: dict[str, Encoder] = {
        "torch fp32": torch_engine("fp32"),
        "torch bf16": torch_engine("bf16"),
        "torch.compile bf16": torch_engine("bf16", compiled=True),
        "ONNX Runtime, fp32": PlainSession(plain, dimension=dimension, label="fp32"),
        "ONNX Runtime, O3": PlainSession(o3, dimension=dimension, label="O3"),
        "ONNX Runtime, quantize_dynamic": PlainSession(dynamic, dimension=dimension, label="dynamic int8"),
        BASELINE: PlainSession(dynamic_o3, dimension=dimension, label="O3, dynamic int8"),
        OURS: OnnxEncoder(ours, dimension=dimension, label="int8"),
    }
    if is_installed("openvino"):
        engines["OpenVINO"] = OpenVinoEncoder(plain, dimension=dimension)
    if has_fast_native(detect_cpu()):
        for name, graph in ((NATIVE_BF16, plain), (NATIVE_INT8, ours)):
            try:
                engines[name] = NativeEncoder(
                    graph, dimension=dimension, pooling=student.pooling, normalized=student.normalized
                )
            except UnsupportedGraphError as error:
                tell(f"{name}: left out, {error}")
    weights = _weights(student)
    engines |= {ROOF: MatrixProducts(weights, "bf16"), INT8_ROOF: MatrixProducts(weights, "int8")}
    return engines


def _weights(student: Student) -> list[Tensor]:
    """The layers' matrices in order, [outputs, inputs] each; embeddings and everything else left out."""
    transformer = open_sentence_encoder(student).transformer
    names = ("embedding", "pooler")
    return [
        parameter.detach()
        for name, parameter in transformer.named_parameters()
        if parameter.ndim == 2 and not any(word in name for word in names)
    ]
