from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from server.batching import WASTE_FLOOR, WASTE_SHARE, choose

lengths_strategy = st.lists(st.integers(1, 300), min_size=1, max_size=80)


def padded(lengths: Sequence[int]) -> int:
    return len(lengths) * max(lengths, default=0)


@given(lengths_strategy, st.integers(16, 2048), st.integers(1, 64))
def test_a_batch_has_the_oldest_text_and_keeps_every_bound(lengths: list[int], tokens: int, items: int) -> None:
    picked = choose(lengths, padded, tokens=tokens, items=items)
    chosen = [lengths[i] for i in picked]
    assert 0 in picked
    assert len(set(picked)) == len(picked) <= items
    if len(picked) > 1:
        assert padded(chosen) <= tokens
        assert padded(chosen) - sum(chosen) <= max(WASTE_FLOOR, WASTE_SHARE * padded(chosen))


@given(st.lists(st.integers(1, 300), min_size=1, max_size=40), st.integers(1, 64))
def test_an_engine_without_padding_fills_its_batch(lengths: list[int], items: int) -> None:
    assert len(choose(lengths, sum, tokens=10**9, items=items)) == min(len(lengths), items)


def test_a_long_outlier_runs_alone_whoever_came_first() -> None:
    assert choose([256, 10, 11, 12], padded, tokens=1024, items=64) == [0]
    assert sorted(choose([10, 256, 11, 12], padded, tokens=1024, items=64)) == [0, 2, 3]
