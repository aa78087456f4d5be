"""Whole encoders against the same graph in ONNX Runtime, on every instruction set that this CPU has."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bundle.arrays import Ids, Vectors, flatten
from bundle.errors import InvalidTokensError, TextTooLongError, UnsupportedGraphError, UnsupportedModelError
from bundle.native_encoder import NativeEncoder
from bundle.native_package import ISA_VARIABLE
from bundle.native_weights import Linear
from tests.bert import LONGEST, VOCABULARY, Graphs, random_texts

native = pytest.importorskip("disco_native", reason="disco-native is not built: make native")

ISAS = native.instruction_sets()
each_isa = pytest.mark.parametrize("isa", ISAS)
each_precision = pytest.mark.parametrize("precision", ["fp32", "int8"])
SLOW_ISAS = ("generic", "amx_emulated")
LENGTHS = [16, 5, 1, 40, 130, 3, 17, 2, 33]


def encoder_of(graphs: Graphs, precision: str = "int8", *, isa: str | None = None, threads: int = 1) -> NativeEncoder:
    return NativeEncoder(
        getattr(graphs, precision),
        dimension=graphs.shape.hidden,
        pooling="cls" if graphs.shape.pooling == "cls" else "mean",
        normalized=True,
        threads=threads,
        isa=isa,
    )


def relative_error(vectors: Vectors, expected: Vectors) -> float:
    return float(np.linalg.norm(vectors - expected) / np.linalg.norm(expected))


@each_isa
@each_precision
def test_vectors_are_those_of_the_graph(graphs: Graphs, precision: str, isa: str) -> None:
    ids, offsets = flatten(random_texts(LENGTHS))
    encoder = encoder_of(graphs, precision, isa=isa)
    reference = graphs.reference(getattr(graphs, precision))
    vectors, expected = encoder.encode(ids, offsets), reference.encode(ids, offsets)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    # Roundings that differ are noise of about the size of int8's own; bf16 loses half a per cent.
    allowed = 0.01 if precision == "fp32" else 0.05
    assert relative_error(vectors, expected) < allowed
    assert relative_error(encoder.encode_tokens(ids, offsets), reference.encode_tokens(ids, offsets)) < allowed
    assert encoder.dimension == graphs.shape.hidden
    assert encoder.description == f"native {'int8' if precision == 'int8' else 'bf16'} {isa}"


@each_precision
def test_int8_is_as_close_to_fp32_here_as_in_onnx_runtime(graphs: Graphs, precision: str) -> None:
    ids, offsets = flatten(random_texts([20] * 40, seed=5))
    exact = graphs.reference(graphs.fp32).encode(ids, offsets)
    theirs = relative_error(graphs.reference(graphs.int8).encode(ids, offsets), exact)
    assert relative_error(encoder_of(graphs, precision).encode(ids, offsets), exact) < 1.15 * theirs


texts = st.lists(st.integers(0, 70), max_size=12)


@each_isa
@each_precision
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=texts, seed=st.integers(0, 9))
def test_company_never_changes_a_bit(
    minilm: Graphs, small: Graphs, precision: str, isa: str, lengths: list[int], seed: int
) -> None:
    encoder = encoder_of(small if isa in SLOW_ISAS else minilm, precision, isa=isa)
    ids, offsets = flatten(random_texts(lengths, seed))
    together = encoder.encode(ids, offsets)
    assert together.shape == (len(lengths), encoder.dimension)
    for vector, (start, end) in zip(together, pairwise(offsets), strict=True):
        np.testing.assert_array_equal(vector, encoder.encode(*flatten([ids[start:end]]))[0])


def test_long_texts_and_thousands_of_texts(minilm: Graphs) -> None:
    reference = minilm.reference(minilm.fp32)
    encoder = encoder_of(minilm, "fp32")
    for lengths in ([LONGEST], [1] * 3000, [LONGEST, 1, LONGEST - 1, 300]):
        ids, offsets = flatten(random_texts(lengths))
        assert relative_error(encoder.encode(ids, offsets), reference.encode(ids, offsets)) < 0.01


def test_one_text_is_computed_alike_by_many_threads_and_by_sharers_of_weights(minilm: Graphs) -> None:
    batch = flatten(random_texts([17, 64, 5, 130] * 6))
    expected = encoder_of(minilm).encode(*batch)
    np.testing.assert_array_equal(encoder_of(minilm, threads=3).encode(*batch), expected)

    def encode_often(_: int) -> bool:
        encoder = encoder_of(minilm)
        return all(np.array_equal(encoder.encode(*batch), expected) for _ in range(5))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(encode_often, range(8)))


def test_two_threads_in_one_encoder_are_refused(small: Graphs) -> None:
    encoder = encoder_of(small, isa="generic")
    batch = flatten(random_texts([130] * 15))
    expected = encoder.encode(*batch)
    short = flatten(random_texts([3]))
    refusals: list[BaseException] = []
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(encoder.encode, *batch)
        while not running.done():
            try:
                encoder.encode(*short)
            except RuntimeError as error:
                refusals.append(error)
        # Which of the two is refused is chance: the long one is where a short one was computed when it began.
        if (refused := running.exception()) is not None:
            refusals.append(refused)
        else:
            np.testing.assert_array_equal(running.result(), expected)
    assert refusals
    assert all("it belongs to one at a time" in str(refusal) for refusal in refusals)
    np.testing.assert_array_equal(encoder.encode(*batch), expected)


def test_nothing_is_padded(minilm: Graphs) -> None:
    assert NativeEncoder.cost([3, 5, 4]) == 12
    assert NativeEncoder.cost([]) == 0
    assert encoder_of(minilm).encodes_tokens


@pytest.mark.parametrize("wrong", [-1, VOCABULARY, 2**31 - 1, -(2**31)])
def test_ids_outside_of_the_vocabulary_are_named(minilm: Graphs, wrong: int) -> None:
    ids: Ids = np.array([1, wrong, 2], np.int32)
    with pytest.raises(InvalidTokensError, match=f"token id {wrong} is outside of the vocabulary of {VOCABULARY}"):
        encoder_of(minilm).encode(*flatten([ids]))


def test_a_text_with_more_tokens_than_positions_is_refused(minilm: Graphs) -> None:
    with pytest.raises(TextTooLongError, match="513 tokens, the model has positions for 512"):
        encoder_of(minilm).encode(*flatten(random_texts([LONGEST + 1])))


@pytest.mark.parametrize("offsets", [[], [1, 3], [0, 4], [0, 2, 1, 3], [0, -1, 3]])
def test_offsets_that_are_none_are_refused(minilm: Graphs, offsets: list[int]) -> None:
    with pytest.raises(ValueError, match="offsets") as refusal:
        encoder_of(minilm).encode(np.zeros(3, np.int32), np.array(offsets, np.int32))
    assert not isinstance(refusal.value, native.LengthError), "that is for texts"


def test_the_instruction_set_can_be_forced(minilm: Graphs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ISA_VARIABLE, "generic")
    assert encoder_of(minilm).description == "native int8 generic"
    monkeypatch.setenv(ISA_VARIABLE, "sse9")
    with pytest.raises(UnsupportedGraphError, match="no instruction set 'sse9'"):
        encoder_of(minilm)
    monkeypatch.delenv(ISA_VARIABLE)
    assert encoder_of(minilm).description == f"native int8 {ISAS[0]}"


def test_the_slow_reference_is_never_run_unasked(minilm: Graphs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "instruction_sets", lambda: ["generic", "amx_emulated"])
    monkeypatch.delenv(ISA_VARIABLE, raising=False)
    with pytest.raises(UnsupportedGraphError, match=r"no AVX-512 VNNI.*DISCO_NATIVE_ISA=generic runs"):
        encoder_of(minilm)
    assert encoder_of(minilm, isa="generic").description == "native int8 generic"
    monkeypatch.setenv(ISA_VARIABLE, "generic")
    assert encoder_of(minilm).description == "native int8 generic"


@pytest.mark.parametrize("wrong_in", ["bytes", "halves"])
def test_an_instruction_set_that_multiplies_wrongly_is_passed_over(
    minilm: Graphs, monkeypatch: pytest.MonkeyPatch, wrong_in: str
) -> None:
    def multiply(isa: str, rows: NDArray[np.float32], linear: Linear) -> NDArray[np.float32]:
        sums: NDArray[np.float32] = native_multiply("generic", rows, linear)  # no CPU lacks it
        kind = "halves" if linear.input is None else "bytes"
        return sums * (1 + 2**-20) if isa in wrong and kind == wrong_in else sums

    native_multiply, wrong = native.multiply, {"amx"}
    monkeypatch.setattr(native, "multiply", multiply)
    monkeypatch.delenv(ISA_VARIABLE, raising=False)
    monkeypatch.setattr(native, "instruction_sets", lambda: ["amx", "amx_emulated", "generic"])
    passed_over = "native int8 amx_emulated, since amx multiplies wrongly on this CPU: please report it"
    assert encoder_of(minilm).description == passed_over
    wrong.add("amx_emulated")
    assert encoder_of(minilm, isa="amx_emulated").description == "native int8 amx_emulated", "who names it gets it"
    with pytest.raises(UnsupportedGraphError, match=r"wrongly on it \(amx, amx_emulated\).*--runtime onnxruntime"):
        encoder_of(minilm)


@pytest.mark.skipif("amx" in ISAS, reason="this CPU has AMX, and lacks no instruction set")
def test_an_instruction_set_that_the_cpu_lacks_is_refused(minilm: Graphs) -> None:
    with pytest.raises(UnsupportedGraphError, match="lacks the instruction set amx, or Linux does not grant it"):
        encoder_of(minilm, isa="amx")


def test_vectors_of_another_size_than_tokens_are_refused(minilm: Graphs) -> None:
    with pytest.raises(UnsupportedModelError, match="384 components, vectors 128"):
        NativeEncoder(minilm.fp32, dimension=128, pooling="mean", normalized=True)
