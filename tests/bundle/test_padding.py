import numpy as np

from bundle.padding import pad, padded_size


def test_a_batch_is_padded_on_the_right() -> None:
    ids, mask = pad(np.array([5, 6, 0, 7], dtype=np.int32), np.array([0, 1, 4], dtype=np.int32))
    assert ids.tolist() == [[5, 0, 0], [6, 0, 7]]
    assert mask.tolist() == [[1, 0, 0], [1, 1, 1]]
    assert ids.dtype == mask.dtype == np.int64


def test_a_text_without_tokens_still_has_a_column() -> None:
    ids, mask = pad(np.empty(0, dtype=np.int32), np.array([0, 0], dtype=np.int32))
    assert ids.tolist() == mask.tolist() == [[0]]


def test_the_size_of_a_batch_is_what_padding_makes_of_it() -> None:
    assert padded_size([3, 5, 4]) == 15
    assert padded_size([]) == 0
