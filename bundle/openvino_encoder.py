"""The OpenVINO engine behind the `Encoder` contract: fp32 graphs in the CPU's own 16 bits. Needs the extra `openvino`.

Knows no bundle. OpenVINO itself is imported when the first graph is opened.
"""

import sys
from functools import cache, cached_property, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle.arrays import Ids, Offsets, Vectors
from bundle.errors import UnsupportedGraphError
from bundle.onnx_encoder import OUTPUT, TOKENS
from bundle.padding import PaddingEncoder, pad


class OpenVinoEncoder(PaddingEncoder):
    """Runs one fp32 graph whose output is pooled already; pads each batch to its longest text.

    Where the CPU multiplies bfloat16 (AMX, AVX-512 BF16), OpenVINO does so.
    """

    def __init__(self, graph: Path, *, dimension: int, threads: int = 1) -> None:
        """Load `graph`.

        Raises:
            UnsupportedGraphError: OpenVINO refuses the file, or its inputs are not those of a bundle.
        """
        ov = _import_openvino()
        self._compile = partial(_compile, graph, threads)
        try:
            outputs, compiled = self._compile(OUTPUT)
        except RuntimeError as error:
            raise UnsupportedGraphError(f"{graph}: OpenVINO cannot load it: {error}") from error
        if (inputs := {port.any_name for port in compiled.inputs}) != {"input_ids", "attention_mask"}:
            raise UnsupportedGraphError(
                f"{graph}: expected inputs input_ids and attention_mask, found {sorted(inputs)}"
            )
        self._pooled = compiled.create_infer_request()
        arithmetic = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        version = ov.get_version().partition("-")[0]
        super().__init__(
            dimension=dimension,
            description=f"openvino {version} {arithmetic}",
        )
        self.encodes_tokens = TOKENS in outputs

    def encode_tokens(self, ids: Ids, offsets: Offsets) -> Vectors:
        """See `TokenEncoder`."""
        input_ids, attention_mask = pad(ids, offsets)
        vectors: Vectors = _infer(self._unpooled, input_ids, attention_mask)[attention_mask == 1]
        return vectors

    def _embed(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> Vectors:
        return _infer(self._pooled, input_ids, attention_mask)

    @cached_property
    def _unpooled(self) -> Any:
        return self._compile(TOKENS)[1].create_infer_request()


def _compile(graph: Path, threads: int, output: str) -> tuple[set[str], Any]:
    """The names of the graph's outputs, and the model that computes `output` and nothing for nobody."""
    ov = _import_openvino()
    core = _core()
    model = core.read_model(graph)
    compiled = core.compile_model(
        ov.Model([model.output(output)], model.get_parameters()),
        "CPU",
        {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": threads,
            # Every encoder would pin its threads to the same first cores.
            "ENABLE_CPU_PINNING": False,
        },
    )
    return {port.any_name for port in model.outputs}, compiled


@cache
def _core() -> Any:
    """OpenVINO, once for the process and for as long as it lives.

    Every core gives the thread that first compiles with it another stack to handle signals on, and puts back what was
    there before when it goes: where they go in another order than they came, the next signal handled in Python finds
    a stack that is no longer there, and the process dies of a segmentation fault.
    """
    return _import_openvino().Core()


def _infer(request: Any, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> Vectors:
    request.infer({"input_ids": input_ids, "attention_mask": attention_mask}, share_inputs=True)
    # Of the request's own memory, which the next batch overwrites.
    vectors: Vectors = np.array(request.get_output_tensor().data)
    return vectors


def _import_openvino() -> ModuleType:
    # While it is imported it would report its use to its makers and leave files in the home folder; it does without
    # the package for that where it finds none.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: cannot be imported
    import openvino

    module: ModuleType = openvino
    return module
