from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.mix import Mix, parse_mix


def test_weights_become_shares() -> None:
    assert parse_mix("1:0.9,32:0.1", int) == Mix([1, 32], [0.9, 0.1])
    assert parse_mix("a:3, b", str) == Mix(["a", "b"], [0.75, 0.25])
    assert parse_mix("7", int) == Mix([7], [1.0])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("1:0", "the weight '0' of '1' is not a positive number; write e.g. 1:0.5"),
        ("1:-2", "the weight '-2' of '1'"),
        ("1:x", "the weight 'x' of '1'"),
        ("1:inf", "the weight 'inf'"),
        ("1:", "the weight '' of '1'"),
        ("1:1,1:2", "'1' is given twice in '1:1,1:2': add up its weights"),
        ("1:1,2:0.0001", "'2' is less than a thousandth of '1:1,2:0.0001'"),
    ],
)
def test_bad_mixes_are_named(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match="^" + complaint.replace(".", r"\.")):
        parse_mix(text, int)


@given(st.lists(st.floats(0.05, 1), min_size=1, max_size=6), st.integers(1, 500), st.integers(0, 5))
def test_each_choice_comes_as_often_as_its_share_says(weights: list[float], count: int, seed: int) -> None:
    shares = [weight / sum(weights) for weight in weights]
    mix = Mix(range(len(weights)), shares)
    drawn = mix.draw(count, np.random.default_rng(seed))
    assert len(drawn) == count
    for choice, share in enumerate(shares):
        assert abs(Counter(drawn)[choice] - count * share) <= 1 + 1e-6
    if count >= mix.least_draws:
        assert set(drawn) == set(mix.choices)


def test_choices_come_in_random_order_which_the_seed_decides() -> None:
    mix = Mix(["a", "b"], [0.5, 0.5])
    first, again, other = (mix.draw(50, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert first == again != other
    assert first not in (sorted(first), sorted(first, reverse=True))
