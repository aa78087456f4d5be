import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bundle.arrays import flatten, normalize

texts = st.lists(st.lists(st.integers(0, 30_000), max_size=20).map(lambda ids: np.array(ids, dtype=np.int32)))


@given(texts)
def test_a_ragged_batch_holds_every_text(texts: list[np.ndarray[tuple[int], np.dtype[np.int32]]]) -> None:
    ids, offsets = flatten(texts)
    assert ids.dtype == offsets.dtype == np.int32
    assert len(offsets) == len(texts) + 1
    for i, text in enumerate(texts):
        np.testing.assert_array_equal(ids[offsets[i] : offsets[i + 1]], text)
    assert offsets[-1] == len(ids)


@given(arrays(np.float32, (4, 3), elements=st.floats(-1e6, 1e6, width=32)))
def test_rows_become_unit_length_and_keep_their_direction(
    vectors: np.ndarray[tuple[int], np.dtype[np.float32]],
) -> None:
    vectors[np.abs(vectors) < 1e-3] = 0
    lengths = np.linalg.norm(vectors, axis=1)
    unit = normalize(vectors)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), lengths > 0, rtol=1e-5)
    np.testing.assert_allclose(unit * lengths[:, None], vectors, rtol=1e-4)


def test_a_zero_row_stays_zero() -> None:
    assert normalize(np.zeros((1, 3), dtype=np.float32)).tolist() == [[0, 0, 0]]
