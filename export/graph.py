"""Student → fp32 ONNX graph with pooling and normalisation inside. The only module that knows optimum.

Nothing is optimised here: quantising the plain graph is faster than quantising optimum's fused (O3) one.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
import torch
from optimum.exporters.onnx.config import TextEncoderOnnxConfig
from optimum.exporters.onnx.convert import export
from optimum.onnxruntime import AutoOptimizationConfig, ORTOptimizer
from optimum.utils import NormalizedTextConfig
from torch import Tensor, nn
from torch.jit._trace import TracerWarning
from torch.nn import functional
from transformers import AutoConfig, AutoModel, PreTrainedModel

from bundle.manifest import Pooling
from bundle.onnx_encoder import OUTPUT, TOKENS
from export.errors import DamagedStudentError
from export.loading import LOADING_ERRORS, first_line, quiet_loading
from export.source import Student


def export_graph(student: Student, target: Path) -> None:
    """Write the fp32 graph of `student`: `input_ids`, `attention_mask` (int64[n, length]) → float32[n, dim].

    A second output holds the tokens' vectors, float32[n, length, dim]: sentence-transformers' ONNX backend reads it, to
    pool by itself. Who asks for the pooled ones computes no copy.

    Raises:
        DamagedStudentError: the weights are missing, incomplete or do not fit `config.json`.
    """
    encoder = open_sentence_encoder(student)
    with _quiet_tracing():
        export(encoder, _OnnxConfig(encoder.config, task="feature-extraction"), target)
    _declare_dimension(target, student.dimension)


def optimize_o3(student: Student, graph: Path, folder: Path) -> Path:
    """Let optimum fuse what it can in the fp32 `graph` (its level O3), into `folder`; only to compare with."""
    optimizer = ORTOptimizer([graph], AutoConfig.from_pretrained(student.encoder))
    with _quiet_tracing():
        optimizer.optimize(AutoOptimizationConfig.O3(disable_shape_inference=True), save_dir=folder, file_suffix="o3")
    return folder / f"{graph.stem}_o3.onnx"


def open_sentence_encoder(student: Student) -> "SentenceEncoder":
    """The module that `export_graph` traces.

    Raises:
        DamagedStudentError: the weights are missing, incomplete or do not fit `config.json`.
    """
    return SentenceEncoder(_load_transformer(student), student.pooling, normalize=student.normalized).eval()


class SentenceEncoder(nn.Module):
    """A transformer with pooling and normalisation on top, written for tracing: no branch depends on the input."""

    def __init__(self, transformer: PreTrainedModel, pooling: Pooling, *, normalize: bool) -> None:
        super().__init__()
        self.transformer = transformer
        self.config = transformer.config  # where optimum looks for it
        self._pooling = pooling
        self._normalize = normalize

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """Map int64[n, length] ids and mask (1 for text, 0 for padding on the right) to the graph's outputs."""
        tokens = self.transformer(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        if self._pooling == "cls":
            vectors = tokens[:, 0]
        else:
            weights = attention_mask.unsqueeze(-1).to(tokens.dtype)
            vectors = (tokens * weights).sum(dim=1) / weights.sum(dim=1)
        unit = functional.normalize(vectors, dim=1) if self._normalize else vectors
        return {OUTPUT: unit, TOKENS: tokens}


class _OnnxConfig(TextEncoderOnnxConfig):  # type: ignore[misc]  # optimum has no type information
    NORMALIZED_CONFIG_CLASS = NormalizedTextConfig

    @property
    def inputs(self) -> dict[str, dict[int, str]]:
        # No `token_type_ids`: they are all zero for a single text, and left out they fold into a constant.
        axes = {0: "batch", 1: "sequence"}
        return {"input_ids": axes, "attention_mask": axes}

    @property
    def outputs(self) -> dict[str, dict[int, str]]:
        return {OUTPUT: {0: "batch"}, TOKENS: {0: "batch", 1: "sequence"}}


def _load_transformer(student: Student) -> PreTrainedModel:
    try:
        with quiet_loading():
            # "eager" traces to the fewest nodes; the scaled-dot-product form adds scaling and masking ones.
            model, info = AutoModel.from_pretrained(
                student.encoder,
                dtype=torch.float32,
                attn_implementation="eager",
                local_files_only=True,
                output_loading_info=True,
            )
    except LOADING_ERRORS as error:
        raise DamagedStudentError(f"{student.encoder}: cannot be loaded: {first_line(error)}") from error
    # transformers fills gaps with random numbers and goes on. Only BERT's unused pooler may be missing.
    if gaps := sorted(key for key in info["missing_keys"] if not key.startswith("pooler.")):
        raise DamagedStudentError(
            f"{student.encoder}: the weights lack {len(gaps)} tensors of config.json, e.g. {gaps[0]}"
        )
    loaded: PreTrainedModel = model
    return loaded


@contextmanager
def _quiet_tracing() -> Iterator[None]:
    with warnings.catch_warnings():
        # What tracing turns into a constant wrongly, the parity gate finds out, over many lengths and batches.
        warnings.simplefilter("ignore", TracerWarning)
        # Which of torch's exporters is used, and how, is optimum's choice.
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"torch\.onnx|optimum")
        yield


def _declare_dimension(graph: Path, dimension: int) -> None:
    """Tracing forgets that the vectors' length is fixed; readers of the graph want to know it."""
    model = onnx.load(graph)
    axis = model.graph.output[0].type.tensor_type.shape.dim[1]
    axis.ClearField("dim_param")
    axis.dim_value = dimension
    onnx.save(model, graph)
