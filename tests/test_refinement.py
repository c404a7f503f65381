from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from kdcore import Codes, KDError, learn_codes, refine_codes
from kdcore.refinement import best_code_embeddings, improve

N, K, D, SIZE = 60, 5, 3, 4


@pytest.fixture
def vectors() -> torch.Tensor:
    return torch.randn(N, SIZE)


def rows_of(codes: Codes) -> torch.Tensor:
    return codes.tensor() + torch.arange(codes.D) * codes.K


def test_code_embeddings_are_the_least_squares_solution(vectors):
    rows, weights = rows_of(Codes.random(N, K, D, seed=1)), torch.rand(N) + 0.1
    W = best_code_embeddings(rows, vectors, K, weights)
    one_hot = torch.zeros(N, D * K).scatter_(1, rows, 1.0)
    root = weights.sqrt()[:, None]
    answer = np.linalg.lstsq((one_hot * root).numpy(), (vectors * root).numpy())[0]
    torch.testing.assert_close(one_hot @ W, one_hot @ torch.from_numpy(answer), atol=2e-3, rtol=0)


@given(seed=st.integers(0, 10_000))
def test_each_position_gets_its_best_value(seed):
    torch.manual_seed(seed)
    vectors, W = torch.randn(4, SIZE), torch.randn(D * K, SIZE)
    rows = rows_of(Codes.random(4, K, D, seed))
    improved = improve(rows, vectors, W, K, [1, 0, 2])
    expected = rows.clone()
    for i in range(4):
        for j in (1, 0, 2):
            tried = []
            for value in range(K):
                expected[i, j] = j * K + value
                tried.append(float((vectors[i] - W[expected[i]].sum(0)).square().sum()))
            expected[i, j] = j * K + int(np.argmin(tried))
    assert torch.equal(improved, expected)


@pytest.mark.parametrize("weighted", [False, True])
def test_one_position_without_noise_is_k_means(weighted):
    vectors = torch.randn(300, 2)
    weights = torch.rand(300) + 0.1 if weighted else torch.ones(300)
    codes = Codes.random(300, 4, 1, seed=3)
    refined = refine_codes(
        vectors, codes, counts=weights, count_power=1.0, rounds=100, sweeps=1, noise=0.0
    )
    start = best_code_embeddings(codes.tensor(), vectors, 4, weights).numpy()
    means = KMeans(4, init=start, n_init=1, max_iter=200, tol=0.0).fit(
        vectors.numpy(), sample_weight=weights.numpy()
    )
    # The ridge shortens every mean by 1 in 10,000 or so.
    assert (refined.codes.tensor()[:, 0].numpy() == means.labels_).mean() > 0.99
    mean = (vectors * weights[:, None]).sum(0) / weights.sum()
    spread = float(((vectors - mean).square().sum(1) * weights).sum())
    inertia = refined.history[-1].error * spread
    assert inertia == pytest.approx(means.inertia_, rel=1e-2)


def test_the_error_never_rises_without_noise(vectors):
    history = refine_codes(vectors, Codes.random(N, K, D, seed=2), noise=0.0, rounds=15).history
    errors = [record.error for record in history]
    assert all(b <= a * (1 + 1e-3) for a, b in pairwise(errors))
    assert errors[-1] < 0.7 * errors[0]


def test_noise_leaves_a_local_minimum_and_the_best_round_is_kept():
    vectors = torch.randn(1000, 12)
    learned = learn_codes(vectors, 8, 4, epochs=60)
    quiet = refine_codes(vectors, learned.codes, noise=0.0)
    noisy = refine_codes(vectors, learned.codes)
    errors = [min(r.error for r in one.history) for one in (quiet, noisy)]
    assert errors[1] < errors[0] < learned.history[-1].error
    composed = noisy.transform.table(noisy.codes.tensor())
    left = (vectors - composed).square().sum() / (vectors - vectors.mean(0)).square().sum()
    assert float(left) == pytest.approx(errors[1], rel=1e-4)


def test_what_weighs_more_is_composed_better(vectors):
    weights = torch.where(torch.arange(N) < 10, 50.0, 1.0)
    codes = Codes.random(N, K, 2, seed=4)

    def error_of_ten(**options) -> float:
        refined = refine_codes(vectors, codes, seed=1, **options)
        return float(
            (vectors - refined.transform.table(refined.codes.tensor()))[:10].square().sum()
        )

    assert error_of_ten(counts=weights**2) < 0.5 * error_of_ten()
    same = [refine_codes(vectors, codes, counts=w).codes for w in (None, torch.full((N,), 1.0))]
    assert same[0] == same[1]


def test_equal_seeds_equal_codes_and_rounds_are_counted(vectors):
    codes, state = Codes.random(N, K, D, seed=5), torch.get_rng_state()
    one, two, other = (refine_codes(vectors, codes, seed=s, rounds=5) for s in (7, 7, 8))
    assert one.codes == two.codes and torch.equal(one.transform.W, two.transform.W)
    assert other.codes != one.codes
    assert torch.equal(torch.get_rng_state(), state)
    assert [record.round for record in one.history] == list(range(6))
    assert one.history[0].noise == 0.0 and one.history[1].noise == 0.05


def test_learning_and_refining_in_one_call(vectors):
    one = learn_codes(vectors, K, D, epochs=5, seed=2, refinement={"rounds": 4})
    start = learn_codes(vectors, K, D, epochs=5, seed=2)
    assert one.codes == refine_codes(vectors, start.codes, seed=2, rounds=4).codes
    assert one.history == start.history and len(one.refinement) == 5


def test_codes_learned_through_h_or_an_lstm_are_refined_for_plain_sums(vectors):
    for options in ({"code_dim": 2}, {"transform": "lstm"}):
        learned = learn_codes(vectors, K, D, epochs=5, refinement={"rounds": 4}, **options)
        assert learned.transform.H is None
        composed = learned.transform.table(learned.codes.tensor())
        error = (vectors - composed).square().sum() / (vectors - vectors.mean(0)).square().sum()
        assert float(error) == pytest.approx(min(r.error for r in learned.refinement), rel=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"codes": Codes.random(N - 1, K, D, seed=0)}, "59 codes and 60 vectors"),
        ({"counts": torch.ones(3)}, r"shape \(60,\)"),
        ({"counts": -torch.ones(N)}, "none negative"),
        ({"counts": torch.zeros(N)}, "not all zero"),
        ({"counts": torch.full((N,), 1e30), "count_power": 2.0}, "too large for float32"),
        ({"rounds": 0}, "refinement: rounds"),
        ({"passes": 3}, "refinement: passes"),
    ],
)
def test_bad_input_is_one_line(vectors, options, message):
    codes = options.pop("codes", Codes.random(N, K, D, seed=0))
    with pytest.raises(KDError, match=message) as caught:
        refine_codes(vectors, codes, **options)
    assert "\n" not in str(caught.value)
