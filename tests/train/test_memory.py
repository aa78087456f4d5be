import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from train.memory import NegativeQueue


def vectors(*numbers: int) -> torch.Tensor:
    """Unit vectors that can be told apart: number n points at angle n / 100."""
    angles = torch.tensor([number / 100 for number in numbers])
    return torch.stack([angles.cos(), angles.sin()], dim=-1)


def contents(queue: NegativeQueue) -> list[int]:
    return sorted(round(100 * float(torch.atan2(y, x))) for x, y in queue.negatives)


def test_a_new_queue_is_empty() -> None:
    assert NegativeQueue(4, 2).negatives.shape == (0, 2)


@given(size=st.integers(0, 12), batches=st.lists(st.integers(0, 9), max_size=8))
def test_it_holds_the_newest_vectors(size: int, batches: list[int]) -> None:
    queue, put = NegativeQueue(size, 2), 0
    for count in batches:
        queue.put(vectors(*range(put, put + count)) if count else torch.empty(0, 2))
        put += count
        assert contents(queue) == list(range(max(0, put - size), put))


def test_vectors_are_normalised_and_carry_no_gradient() -> None:
    queue = NegativeQueue(3, 2)
    queue.put(torch.tensor([[3.0, 4.0]], requires_grad=True))
    assert queue.negatives.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)]]
    assert not queue.negatives.requires_grad


def test_the_whole_state_travels_with_the_state_dict() -> None:
    queue, copy = NegativeQueue(3, 2), NegativeQueue(3, 2)
    queue.put(vectors(1, 2))
    copy.load_state_dict(queue.state_dict())
    for each in (queue, copy):
        each.put(vectors(3, 4))
    assert contents(copy) == contents(queue) == [2, 3, 4]
