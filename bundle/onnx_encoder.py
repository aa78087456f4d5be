"""The ONNX Runtime engine behind the `Encoder` contract. Owns session settings; knows no bundle."""

import os
from pathlib import Path

import numpy as np

# ONNX Runtime would report its use to its makers and leave a file in the temporary folder. It reads this when it is
# imported, so the one module that imports it for serving must be the one to say no.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort
from numpy.typing import NDArray

from bundle.arrays import Ids, Offsets, Vectors
from bundle.errors import UnsupportedGraphError
from bundle.padding import PaddingEncoder, pad

OUTPUT = "sentence_embedding"
TOKENS = "last_hidden_state"
"""What a graph may give besides: the tokens' vectors, float32[n, length, dim]."""
_REQUIRED_INPUTS = {"input_ids", "attention_mask"}
_OPTIONAL_INPUTS = {"token_type_ids"}

SLOW_FUSIONS = ["SkipLayerNormFusion"]
"""What ONNX Runtime would fuse by itself: two passes of plain operators take a quarter of the fused one's time."""

# Memory for batches of up to so many padded tokens stays with the session: to have the kernel clear fresh pages for
# every batch costs up to a quarter of the time. What a larger batch took is given back after it.
KEPT_TOKENS = 4_096


class OnnxEncoder(PaddingEncoder):
    """Runs one graph whose output is pooled already; pads each batch to its longest text."""

    def __init__(self, graph: Path, *, dimension: int, label: str, threads: int = 1) -> None:
        """Load `graph`.

        Raises:
            UnsupportedGraphError: ONNX Runtime refuses the file, or inputs, outputs or dimension are not the bundle's.
        """
        try:
            self._session = ort.InferenceSession(
                graph, session_options(threads), providers=_providers(), disabled_optimizers=SLOW_FUSIONS
            )
        except Exception as error:
            raise UnsupportedGraphError(f"{graph}: ONNX Runtime cannot load it: {error}") from error
        self._inputs = {node.name for node in self._session.get_inputs()}
        outputs = {node.name: node.shape for node in self._session.get_outputs()}
        if not _REQUIRED_INPUTS <= self._inputs <= _REQUIRED_INPUTS | _OPTIONAL_INPUTS or OUTPUT not in outputs:
            raise UnsupportedGraphError(
                f"{graph}: expected inputs input_ids, attention_mask (and perhaps token_type_ids) and output {OUTPUT}, "
                f"found {sorted(self._inputs)} and {sorted(outputs)}"
            )
        components = outputs[OUTPUT][-1]
        if isinstance(components, int) and components != dimension:  # a graph may also leave it open, as a name
            raise UnsupportedGraphError(f"{graph}: {OUTPUT} has {components} components, the manifest says {dimension}")
        self._giving_memory_back = ort.RunOptions()
        self._giving_memory_back.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        provider = self._session.get_providers()[0]
        super().__init__(
            dimension=dimension,
            description=f"onnxruntime {ort.__version__} {label} {provider}",
        )
        self.encodes_tokens = TOKENS in outputs

    def encode_tokens(self, ids: Ids, offsets: Offsets) -> Vectors:
        """See `TokenEncoder`."""
        input_ids, attention_mask = pad(ids, offsets)
        vectors: Vectors = self._run(TOKENS, input_ids, attention_mask)[attention_mask == 1]
        return vectors

    def _embed(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> Vectors:
        return self._run(OUTPUT, input_ids, attention_mask)

    def _run(self, output: str, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> Vectors:
        feeds = {"input_ids": input_ids, "attention_mask": attention_mask}
        if "token_type_ids" in self._inputs:
            feeds["token_type_ids"] = np.zeros_like(input_ids)
        run_options = self._giving_memory_back if input_ids.size > KEPT_TOKENS else None
        vectors: Vectors = self._session.run([output], feeds, run_options)[0]
        return vectors


def session_options(threads: int) -> ort.SessionOptions:
    """How sessions compute: on `threads` threads that do not spin, and without what only costs memory here."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Lengths vary from batch to batch: there would be a memory pattern per shape, none of them used twice.
    options.enable_mem_pattern = False
    # Weights stay out of the arena, which could not give back a region that holds one of them.
    options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
    # A worker that waits must not burn the core the next worker needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _providers() -> list[str]:
    return [p for p in ("CUDAExecutionProvider", "CPUExecutionProvider") if p in ort.get_available_providers()]
