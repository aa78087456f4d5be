import ctypes
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle.arrays import Ids, Vectors, flatten, normalize
from bundle.errors import UnsupportedGraphError
from bundle.layout import Bundle
from bundle.onnx_encoder import KEPT_TOKENS, OnnxEncoder
from bundle.padding import pad
from tests.bundle.conftest import write_graph
from tests.conftest import SPECIAL, TINY_DIMENSION, WORDS, build_token_table

TABLE = build_token_table()
# Id 0, which padding uses, is drawn too: only the mask tells it apart.
tokens = st.lists(st.integers(0, len(SPECIAL) + len(WORDS) - 1), min_size=1, max_size=12)
batches = st.lists(tokens.map(lambda ids: np.array(ids, dtype=np.int32)), min_size=1, max_size=6)


def brute_force(text: Ids) -> Vectors:
    mean: Vectors = normalize(TABLE[text].mean(axis=0, keepdims=True))
    return mean


@pytest.fixture(scope="module")
def encoder(tiny_bundle: Bundle) -> OnnxEncoder:
    return OnnxEncoder(tiny_bundle.path / "onnx" / "model.onnx", dimension=TINY_DIMENSION, label="fp32")


@settings(deadline=None)
@given(batches)
def test_vectors_are_those_of_brute_force(encoder: OnnxEncoder, batch: list[Ids]) -> None:
    vectors = encoder.encode(*flatten(batch))
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(batch), TINY_DIMENSION)
    np.testing.assert_allclose(vectors, np.concatenate([brute_force(text) for text in batch]), atol=1e-5)


@settings(deadline=None)
@given(batches)
def test_company_and_padding_never_change_a_vector(encoder: OnnxEncoder, batch: list[Ids]) -> None:
    together = encoder.encode(*flatten(batch))
    alone = np.concatenate([encoder.encode(*flatten([text])) for text in batch])
    np.testing.assert_allclose(together, alone, atol=1e-6)


@settings(deadline=None)
@given(batches)
def test_without_pooling_every_token_has_its_vector(encoder: OnnxEncoder, batch: list[Ids]) -> None:
    assert encoder.encodes_tokens
    ids, offsets = flatten(batch)
    np.testing.assert_array_equal(encoder.encode_tokens(ids, offsets), TABLE[ids])


def test_a_graph_may_give_pooled_vectors_only(tmp_path: Path) -> None:
    path = write_graph(tmp_path / "model.onnx", inputs=["input_ids", "attention_mask"])
    assert not OnnxEncoder(path, dimension=2, label="fp32").encodes_tokens


def test_cost_is_what_padding_makes_of_it(encoder: OnnxEncoder) -> None:
    assert encoder.cost([3, 5, 4]) == 15
    assert encoder.cost([]) == 0
    batch = [np.ones(length, dtype=np.int32) for length in (3, 5, 4)]
    assert encoder.cost([3, 5, 4]) == pad(*flatten(batch))[0].size


def test_token_types_are_zero_where_a_graph_asks_for_them(tmp_path: Path) -> None:
    inputs = ["input_ids", "attention_mask", "token_type_ids"]
    path = write_graph(tmp_path / "model.onnx", inputs=inputs, columns=["token_type_ids", "attention_mask"])
    encoder = OnnxEncoder(path, dimension=2, label="fp32")
    # This graph adds up each row's token types and masks.
    assert encoder.encode(*flatten([np.array([7], np.int32), np.array([7, 8], np.int32)])).tolist() == [[0, 1], [0, 2]]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks the kernel and glibc about memory")
def test_what_a_large_batch_took_is_given_back(encoder: OnnxEncoder) -> None:
    def resident() -> int:
        ctypes.CDLL(None).malloc_trim(0)  # what is merely freed stays with glibc for a while
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    small = flatten([np.ones(64, dtype=np.int32)] * (KEPT_TOKENS // 64))
    large = flatten([np.ones(512, dtype=np.int32)] * 1_024)  # its tokens' vectors take 16 MiB, several times over
    kept = [encoder.encode(*small)]
    before = resident()
    for _ in range(3):
        kept.append(encoder.encode(*large))
        assert resident() - before < 8 * 2**20


@pytest.mark.parametrize(
    ("inputs", "output", "complaint"),
    [
        (["input_ids"], "sentence_embedding", "found \\['input_ids'\\]"),
        (["input_ids", "attention_mask"], "last_hidden_state", "and \\['last_hidden_state'\\]"),
        (["input_ids", "attention_mask", "position_ids"], "sentence_embedding", "'position_ids'"),
    ],
)
def test_unexpected_graphs_are_refused(tmp_path: Path, inputs: list[str], output: str, complaint: str) -> None:
    path = write_graph(tmp_path / "model.onnx", inputs=inputs, output=output)
    with pytest.raises(UnsupportedGraphError, match=rf"model\.onnx: expected inputs input_ids.*{complaint}"):
        OnnxEncoder(path, dimension=2, label="fp32")


def test_another_dimension_than_the_manifests_is_refused(tiny_bundle: Bundle) -> None:
    with pytest.raises(UnsupportedGraphError, match="sentence_embedding has 8 components, the manifest says 384"):
        OnnxEncoder(tiny_bundle.path / "onnx" / "model.onnx", dimension=384, label="fp32")


@pytest.mark.parametrize("content", [b"", b"not a graph"])
def test_what_is_no_graph_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(UnsupportedGraphError, match=r"model\.onnx: ONNX Runtime cannot load it"):
        OnnxEncoder(path, dimension=2, label="fp32")


def test_a_missing_graph_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedGraphError, match=r"absent\.onnx: ONNX Runtime cannot load it"):
        OnnxEncoder(tmp_path / "absent.onnx", dimension=2, label="fp32")


def test_nothing_is_reported_to_the_makers_of_the_engine(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    command = [sys.executable, "-c", "import bundle.runtime"]
    subprocess.run(command, env=environment | {"TMPDIR": str(tmp_path)}, check=True)
    assert list(tmp_path.iterdir()) == []  # ONNX Runtime's telemetry leaves a file here when it starts
