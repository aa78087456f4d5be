import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bundle.arrays import Vectors
from server.cache import VectorCache

ENTRY = 1 + 4 * 8 + 250


def vector(value: float) -> Vectors:
    return np.full(8, value, dtype=np.float32)


def test_what_was_put_comes_back_as_it_was_then() -> None:
    cache = VectorCache(10 * ENTRY)
    mine = vector(1)
    cache.put(b"a", mine)
    mine[:] = 2
    found = cache.get(b"a")
    assert found is not None
    assert found.tolist() == vector(1).tolist()
    assert cache.get(b"b") is None


def test_the_least_recently_used_goes_first() -> None:
    cache = VectorCache(2 * ENTRY)
    cache.put(b"a", vector(1))
    cache.put(b"b", vector(2))
    cache.get(b"a")
    cache.put(b"c", vector(3))
    assert cache.get(b"b") is None
    assert cache.get(b"a") is not None
    assert cache.get(b"c") is not None


@given(st.integers(0, 5000), st.lists(st.binary(max_size=300)))
def test_the_limit_holds_whatever_comes(limit: int, keys: list[bytes]) -> None:
    cache = VectorCache(limit)
    for key in keys:
        cache.put(key, vector(0))
        assert cache.bytes <= limit
    assert cache.bytes == sum(len(key) + 32 + 250 for key in set(keys) if cache.get(key) is not None)


def test_nothing_is_kept_where_nothing_may_be() -> None:
    cache = VectorCache(0)
    cache.put(b"a", vector(1))
    assert (len(cache), cache.bytes) == (0, 0)
