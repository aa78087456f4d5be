import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bundle.arrays import Vectors
from bundle.quality import agreement, cosine, ndcg_at_10, neighbours_kept, spearman

# Few distinct values, so that ties are the rule.
scores = st.lists(st.tuples(st.sampled_from([0, 1, 2.5, 3, 5]), st.floats(-1, 1)), min_size=2, max_size=40)


def random_vectors(n: int, dimension: int = 16, seed: int = 0) -> Vectors:
    return np.random.default_rng(seed).standard_normal((n, dimension)).astype(np.float32)


@given(scores)
def test_spearman_is_scipys_with_ties(pairs: list[tuple[float, float]]) -> None:
    left, right = zip(*pairs, strict=True)
    if len(set(left)) == 1 or len(set(right)) == 1:
        assert math.isnan(spearman(left, right))
    else:
        assert spearman(left, right) == pytest.approx(scipy.stats.spearmanr(left, right).statistic, abs=1e-12)


def test_spearman_at_its_limits() -> None:
    assert spearman([1, 2, 3], [10, 20, 1000]) == pytest.approx(1)
    assert spearman([1, 2, 3], [3, 2, -1]) == pytest.approx(-1)
    assert math.isnan(spearman([1, 1, 1], [1, 2, 3]))


def test_a_nan_is_not_just_another_large_number() -> None:
    assert math.isnan(spearman([1, 2, math.nan], [1, 2, 3]))
    assert math.isnan(spearman([1, 2, 3], [1, 2, math.nan]))


def test_cosine_row_by_row() -> None:
    left = np.array([[1, 0], [3, 4], [0, 0]], dtype=np.float32)
    right = np.array([[2, 0], [4, -3], [1, 1]], dtype=np.float32)
    np.testing.assert_allclose(cosine(left, right), [1, 0, 0], atol=1e-6)


def test_agreement_with_itself_is_perfect_at_any_length() -> None:
    vectors = random_vectors(50)
    same = agreement(vectors * np.arange(1, 51, dtype=np.float32)[:, None], vectors)
    assert same.texts == 50
    np.testing.assert_allclose([same.mean, same.first_percentile, same.worst], 1, atol=1e-6)


def test_one_bad_vector_shows_in_the_worst_and_hardly_in_the_mean() -> None:
    vectors = random_vectors(1_000)
    damaged = vectors.copy()
    damaged[7] *= -1
    result = agreement(damaged, vectors)
    assert result.worst == pytest.approx(-1)
    assert result.first_percentile == pytest.approx(1)
    assert result.mean == pytest.approx(1 - 2 / 1_000)


def brute_force_ndcg(queries: Vectors, passages: Vectors) -> float:
    gains = []
    for i, query in enumerate(queries):
        similarities = [
            float(query @ passage / np.linalg.norm(query) / np.linalg.norm(passage)) for passage in passages
        ]
        ranking = sorted(range(len(passages)), key=lambda j: (-similarities[j], j == i))
        rank = 1 + ranking.index(i)
        gains.append(1 / math.log2(1 + rank) if rank <= 10 else 0.0)
    return float(np.mean(gains))


@pytest.mark.parametrize("noise", [1.5, 2.5, 4.0])
def test_ndcg_is_that_of_brute_force(noise: float) -> None:
    passages = random_vectors(60)
    queries = passages + noise * random_vectors(60, seed=1)
    expected = brute_force_ndcg(queries, passages)
    assert 0 < expected < 1
    assert ndcg_at_10(queries, passages) == pytest.approx(expected)


def test_ndcg_at_its_limits() -> None:
    passages = random_vectors(40)
    assert ndcg_at_10(passages, passages) == 1
    assert ndcg_at_10(-passages, passages) == 0
    # Each query's nearest is another's answer, its own is second.
    circle = np.eye(5, dtype=np.float32)
    assert ndcg_at_10(0.5 * circle + np.roll(circle, 1, axis=0), circle) == pytest.approx(1 / math.log2(3))


@pytest.mark.parametrize("n", [40, 1_030])  # one block of queries, and more than one
def test_a_constant_model_earns_nothing(n: int) -> None:
    constant: Vectors = np.tile(random_vectors(1), (n, 1))
    assert ndcg_at_10(constant, constant) == 0
    assert ndcg_at_10(np.zeros_like(constant), constant) == 0


def test_a_broken_model_earns_nothing() -> None:
    broken: NDArray[np.float32] = np.full((40, 16), np.nan, dtype=np.float32)
    assert ndcg_at_10(broken, broken) == 0


def test_it_makes_no_difference_which_block_a_query_falls_into() -> None:
    passages = random_vectors(1_500)
    queries = passages + 2 * random_vectors(1_500, seed=1)
    order = np.random.default_rng(2).permutation(1_500)
    expected = ndcg_at_10(queries, passages)
    assert 0 < expected < 1
    assert ndcg_at_10(queries[order], passages[order]) == pytest.approx(expected)


def test_neighbours_kept_is_the_overlap_of_brute_force() -> None:
    reference, vectors = random_vectors(40), random_vectors(40, seed=1)

    def nearest(rows: Vectors, own: int) -> set[int]:
        similarities = cosine(np.repeat(rows[own : own + 1], len(rows), axis=0), rows)
        return set([other for other in np.argsort(-similarities).tolist() if other != own][:3])

    overlap = [len(nearest(vectors, own) & nearest(reference, own)) for own in range(40)]
    assert neighbours_kept(vectors, reference, neighbours=3) == pytest.approx(sum(overlap) / 120)


def test_neighbours_kept_at_its_limits() -> None:
    vectors = random_vectors(50)
    assert neighbours_kept(3 * vectors, vectors) == 1
    assert neighbours_kept(random_vectors(5, seed=1), vectors[:5]) == 1, "all others are neighbours anyway"
    assert neighbours_kept(random_vectors(50, seed=1), vectors) < 0.5
    many, noisy = random_vectors(1500), random_vectors(1500) + 0.3 * random_vectors(1500, seed=2)
    order = np.random.default_rng(0).permutation(1500)
    assert neighbours_kept(noisy[order], many[order]) == neighbours_kept(noisy, many), "blocks make no difference"
