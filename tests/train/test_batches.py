import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from train.batches import Position, epoch_batches, training_batches

lengths_of_texts = st.lists(st.integers(1, 60), min_size=1, max_size=300).map(np.array)


@given(lengths=lengths_of_texts, size=st.integers(1, 20), tokens=st.integers(60, 400), epoch=st.integers(0, 3))
def test_every_row_is_in_exactly_one_batch_and_no_batch_is_too_large(
    lengths: NDArray[np.int64], size: int, tokens: int, epoch: int
) -> None:
    batches = epoch_batches(lengths, seed=1, epoch=epoch, size=size, tokens=tokens)
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    for batch in batches:
        assert 1 <= len(batch) <= size
        assert len(batch) * lengths[batch].max() <= tokens


def test_a_text_beyond_the_token_budget_gets_a_batch_of_its_own() -> None:
    batches = epoch_batches(np.array([5, 900, 5]), seed=0, epoch=0, size=8, tokens=100)
    assert sorted(len(batch) for batch in batches) == [1, 2]


def test_little_is_padded() -> None:
    lengths = np.random.default_rng(0).integers(5, 64, 20_000)
    batches = epoch_batches(lengths, seed=0, epoch=0, size=64, tokens=10**6)
    padded = sum(len(batch) * lengths[batch].max() for batch in batches)
    assert padded < 1.1 * lengths.sum()


def test_the_order_depends_on_seed_and_epoch_only() -> None:
    lengths = np.arange(1, 200)

    def order(seed: int, epoch: int) -> list[int]:
        batches = epoch_batches(lengths, seed=seed, epoch=epoch, size=8, tokens=10_000)
        return [int(row) for batch in batches for row in batch]

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)


@given(lengths=lengths_of_texts, examples=st.integers(1, 700), stop=st.integers(0, 50))
def test_stopping_and_going_on_gives_the_same_batches(lengths: NDArray[np.int64], examples: int, stop: int) -> None:
    def run(start: Position) -> list[tuple[list[int], Position]]:
        steps = training_batches(lengths, seed=3, size=7, tokens=200, examples=examples, start=start)
        return [(rows.tolist(), position) for rows, position in steps]

    whole = run(Position())
    cut = min(stop, len(whole))
    start = whole[cut - 1][1] if cut else Position()
    assert whole[:cut] + run(start) == whole
    assert whole[-1][1].examples >= examples > whole[-1][1].examples - 7
