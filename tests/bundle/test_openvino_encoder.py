import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bundle.arrays import Ids, flatten
from bundle.errors import UnsupportedGraphError
from bundle.layout import Bundle
from bundle.onnx_encoder import OnnxEncoder
from bundle.openvino_encoder import OpenVinoEncoder
from bundle.quality import cosine
from tests.bundle.conftest import write_graph
from tests.conftest import TINY_DIMENSION

TEXTS: list[Ids] = [np.arange(4, 4 + length, dtype=np.int32) for length in (1, 7, 3, 12)]


@pytest.fixture(scope="module")
def encoder(tiny_bundle: Bundle) -> OpenVinoEncoder:
    return OpenVinoEncoder(tiny_bundle.path / "onnx" / "model.onnx", dimension=TINY_DIMENSION)


def test_vectors_are_those_of_onnx_runtime(encoder: OpenVinoEncoder, tiny_bundle: Bundle) -> None:
    reference = OnnxEncoder(tiny_bundle.path / "onnx" / "model.onnx", dimension=TINY_DIMENSION, label="fp32")
    vectors, expected = (engine.encode(*flatten(TEXTS)) for engine in (encoder, reference))
    assert vectors.dtype == np.float32
    assert vectors.shape == expected.shape
    assert cosine(vectors, expected).min() > 0.9999  # 16 bits, where the CPU has them


def test_without_pooling_too(encoder: OpenVinoEncoder, tiny_bundle: Bundle) -> None:
    reference = OnnxEncoder(tiny_bundle.path / "onnx" / "model.onnx", dimension=TINY_DIMENSION, label="fp32")
    assert encoder.encodes_tokens
    vectors, expected = (engine.encode_tokens(*flatten(TEXTS)) for engine in (encoder, reference))
    assert vectors.shape == expected.shape
    assert cosine(vectors, expected).min() > 0.9999


def test_a_batch_leaves_the_one_before_as_it_was(encoder: OpenVinoEncoder) -> None:
    first = encoder.encode(*flatten(TEXTS))
    kept = first.copy()
    encoder.encode(*flatten(TEXTS[::-1]))
    np.testing.assert_array_equal(first, kept)


def test_company_and_padding_do_not_matter(encoder: OpenVinoEncoder) -> None:
    together = encoder.encode(*flatten(TEXTS))
    alone = np.concatenate([encoder.encode(*flatten([text])) for text in TEXTS])
    assert cosine(together, alone).min() > 0.9999


def test_cost_is_what_padding_makes_of_it(encoder: OpenVinoEncoder) -> None:
    assert encoder.cost([3, 5, 4]) == 15


@pytest.mark.parametrize("content", [None, b"", b"not a graph"])
def test_what_is_no_graph_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(UnsupportedGraphError, match=r"model\.onnx: OpenVINO cannot load it"):
        OpenVinoEncoder(tmp_path / "model.onnx", dimension=2)


def test_unexpected_inputs_are_refused(tmp_path: Path) -> None:
    path = write_graph(tmp_path / "model.onnx", inputs=["input_ids", "attention_mask", "position_ids"])
    with pytest.raises(UnsupportedGraphError, match=r"found \['attention_mask', 'input_ids', 'position_ids'\]"):
        OpenVinoEncoder(path, dimension=2)


def test_nothing_is_reported_to_the_makers_of_the_engine(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "CI"}  # there they would not
    opened = "from bundle.openvino_encoder import _import_openvino; _import_openvino()"
    command = [sys.executable, "-c", opened]
    subprocess.run(command, env=environment | {"HOME": str(tmp_path), "TMPDIR": str(tmp_path)}, check=True)
    assert list(tmp_path.iterdir()) == []


def test_signals_can_be_handled_after_encoders_are_gone(tiny_bundle: Bundle) -> None:
    """Every core of OpenVINO's replaces the stack they are handled on, and takes it away again when it goes."""
    graph = tiny_bundle.path / "onnx" / "model.onnx"
    program = f"""
import os, signal
from pathlib import Path
from bundle.openvino_encoder import OpenVinoEncoder

signal.signal(signal.SIGTERM, lambda *_: print("handled", flush=True))
encoders = [OpenVinoEncoder(Path({str(graph)!r}), dimension={TINY_DIMENSION}) for _ in range(3)]
while encoders:
    del encoders[0]
    os.kill(os.getpid(), signal.SIGTERM)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "handled\n" * 3
