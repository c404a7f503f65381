import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from clustered import clustered_vectors
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from kdcore import Codes, KDError, learn_codes, refine_codes
from kdcore.additive import improve_codes, least_squares_codebooks
from kdcore.encoding import encode
from kdcore.learners import LEARNERS, Control, LearnerInputs
from kdcore.vectors import relative_error

N, K, D, SIZE = 60, 5, 3, 4


@pytest.fixture
def vectors() -> torch.Tensor:
    return torch.randn(N, SIZE)


def rows_of(codes: Codes) -> torch.Tensor:
    return codes.tensor() + torch.arange(codes.D) * codes.K


def test_codebooks_are_the_least_squares_solution(vectors):
    rows, weights = rows_of(Codes.random(N, K, D, seed=1)), torch.rand(N) + 0.1
    W = least_squares_codebooks(rows, vectors, K, weights)
    one_hot = torch.zeros(N, D * K, dtype=torch.double).scatter_(1, rows, 1.0)
    root = weights.double().sqrt()[:, None]
    answer = np.linalg.lstsq((one_hot * root).numpy(), (vectors * root).numpy())[0]
    found, expected = one_hot @ W.double(), one_hot @ torch.from_numpy(answer)
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)


@given(seed=st.integers(0, 10_000))
def test_each_position_gets_its_best_index(seed):
    torch.manual_seed(seed)
    vectors, W = (torch.randn(n, SIZE, dtype=torch.double) for n in (4, D * K))
    rows = rows_of(Codes.random(4, K, D, seed))
    improved = improve_codes(rows, vectors, W, K, [1, 0, 2])
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
    start = least_squares_codebooks(codes.tensor(), vectors, 4, weights).numpy()
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
    composed = noisy.transform.compose_all(noisy.codes.tensor())
    left = (vectors - composed).square().sum() / (vectors - vectors.mean(0)).square().sum()
    assert float(left) == pytest.approx(errors[1], rel=1e-4)


def test_words_with_higher_counts_are_composed_better(vectors):
    weights = torch.where(torch.arange(N) < 10, 50.0, 1.0)
    codes = Codes.random(N, K, 2, seed=4)

    def error_of_ten(**options) -> float:
        refined = refine_codes(vectors, codes, seed=1, **options)
        return float(
            (vectors - refined.transform.compose_all(refined.codes.tensor()))[:10].square().sum()
        )

    assert error_of_ten(counts=weights**2) < 0.5 * error_of_ten()
    same = [refine_codes(vectors, codes, counts=w).codes for w in (None, torch.full((N,), 1.0))]
    assert same[0] == same[1]


def test_equal_seeds_give_equal_codes_and_rounds_are_counted(vectors):
    codes, state = Codes.random(N, K, D, seed=5), torch.get_rng_state()
    one, two, other = (
        refine_codes(vectors, codes, seed=s, rounds=5, noise=0.05) for s in (7, 7, 8)
    )
    assert one.codes == two.codes and torch.equal(one.transform.W, two.transform.W)
    assert other.codes != one.codes
    assert torch.equal(torch.get_rng_state(), state)
    assert [record.round for record in one.history] == list(range(6))
    assert one.history[0].noise == 0.0 and one.history[1].noise == 0.05


def test_learning_and_refining_in_one_call_is_both_in_turn(vectors):
    one = learn_codes(vectors, K, D, epochs=5, seed=2, refinement={"rounds": 4})
    start = learn_codes(vectors, K, D, epochs=5, seed=2)
    assert one.codes == refine_codes(vectors, start.codes, seed=2, rounds=4).codes
    assert one.history[:5] == start.history and len(one.history) == 5 + 5


def test_codes_learned_through_h_or_an_lstm_are_refined_for_plain_sums(vectors):
    for transform in ({"kind": "linear", "code_dim": 2}, "lstm"):
        learned = learn_codes(vectors, K, D, transform, epochs=5, refinement={"rounds": 4})
        assert learned.transform.can_add_offset
        composed = learned.transform.compose_all(learned.codes.tensor())
        error = (vectors - composed).square().sum() / (vectors - vectors.mean(0)).square().sum()
        assert float(error) == pytest.approx(min(r.error for r in learned.history[5:]), rel=1e-4)


def test_refined_under_scales_a_large_component_does_not_decide():
    vectors = torch.randn(800, 8)
    uneven = vectors * torch.tensor([50.0] + [1.0] * 7) + 3
    codes = Codes.random(800, 8, 4, seed=1)
    lost = {}
    for standardise in (False, True):
        refined = refine_codes(uneven, codes, rounds=10, standardise=standardise)
        composed = refined.transform.compose_all(refined.codes.tensor())
        left = (composed - uneven).square().sum(0) / (uneven - uneven.mean(0)).square().sum(0)
        lost[standardise] = float(left[1:].mean())
        least = min(record.error for record in refined.history)
    # Of components that count alike, the error is the mean of their shares.
    assert float(left.mean()) == pytest.approx(least, rel=1e-3)
    assert lost[True] < 0.8 * lost[False]
    spread = uneven.std(0, correction=0)
    torch.testing.assert_close(refined.transform.error_scale, spread, rtol=1e-4, atol=0)


def test_kind_refines_as_the_function_does_and_needs_counts_only_where_they_count(vectors):
    codes, counts = Codes.random(N, K, D, seed=0), torch.rand(N)
    given = {"rounds": 3, "sweeps": 1, "noise": 0.1, "perturbations": 2}
    settings = LEARNERS.parse({"kind": "refine", "start": "random", **given})
    assert settings.needs == {"vectors", "start", "counts"}
    assert settings.changed(count_power=0.0).needs == {"vectors", "start"}
    inputs, seen = LearnerInputs(N, vectors, counts, codes), []
    control = Control(report=lambda record, indices: seen.append(indices))
    learned = settings.module.learn(settings, inputs, 7, control)
    expected = refine_codes(vectors, codes, counts=counts, seed=7, **given)
    assert learned.codes == expected.codes and learned.history == expected.history
    assert torch.equal(seen[0], codes.tensor()) and len(seen) == 4
    for missing in (LearnerInputs(N, vectors), LearnerInputs(N, start=codes)):
        with pytest.raises(KDError, match="must be given, got none"):
            settings.module.learn(settings, missing, 7, Control())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"codes": Codes.random(N - 1, K, D, seed=0)}, "codes must be 60, one a word, got 59"),
        ({"counts": torch.ones(3)}, r"counts must have shape \(60,\), got \(3,\)"),
        ({"counts": -torch.ones(N)}, "none negative"),
        ({"counts": torch.zeros(N)}, "not all zero"),
        (
            {"counts": torch.full((N,), 1e30), "count_power": 2.0},
            "must be finite in float32, got 1e\\+30 to that power",
        ),
        ({"rounds": 0}, "refinement.rounds must be above 0, got 0"),
        ({"passes": 3}, "refinement: key 'passes' is unknown"),
    ],
)
def test_bad_input_is_refused_in_one_line(vectors, options, message):
    codes = options.pop("codes", Codes.random(N, K, D, seed=0))
    with pytest.raises(KDError, match=message) as caught:
        refine_codes(vectors, codes, **options)
    assert "\n" not in str(caught.value)


def test_groups_are_refined_each_by_itself():
    vectors, codes = torch.randn(300, 7), Codes.random(300, 6, 4, seed=1)
    refined = refine_codes(vectors, codes, groups=2, noise=0.0, rounds=4, sweeps=1)
    assert [part.stop - part.start for part in refined.transform.slices] == [4, 3]
    for group, part in enumerate(refined.transform.slices):
        start = Codes(codes.tensor()[:, 2 * group : 2 * group + 2], 6)
        alone = [
            refine_codes(vectors[:, part], start, noise=0.0, rounds=4, sweeps=1, seed=seed)
            for seed in range(6)
        ]
        found = refined.codes.tensor()[:, 2 * group : 2 * group + 2]
        # The order of two positions is all that is random.
        close = [(one.codes.tensor() == found).double().mean() for one in alone]
        assert max(close) > 0.8
    composed = refined.transform.compose_all(refined.codes.tensor())
    left = (vectors - composed).square().sum() / (vectors - vectors.mean(0)).square().sum()
    assert float(left) == pytest.approx(min(r.error for r in refined.history), rel=1e-4)
    with pytest.raises(KDError, match="groups must divide the D = 4 positions, got 3"):
        refine_codes(vectors, codes, groups=3)


@pytest.mark.parametrize(("groups", "weighted"), [(1, False), (2, True)])
def test_noise_by_default_fits_the_error_the_depth_and_the_rounds(groups, weighted):
    """And no scale of the vectors, which may be any."""
    vectors, counts = torch.randn(200, 6), torch.rand(200) if weighted else None
    codes = Codes.random(200, 4, 4, seed=3)
    options = {"counts": counts, "count_power": 1.0, "groups": groups}

    def begun(scale, rounds):
        return refine_codes(scale * vectors, codes, rounds=rounds, **options).history

    history = begun(1.0, 12)
    weights = torch.ones(200) if counts is None else counts / counts.mean()
    centre = (weights[:, None] * vectors).mean(0)
    own = (weights[:, None] * (vectors - centre) ** 2).mean(0).sum()
    left = history[0].error * own / vectors.var(0, correction=0).sum()
    assert history[1].noise == pytest.approx(math.sqrt(0.1 * left / (4 // groups)), rel=1e-4)
    assert begun(1000.0, 12)[1].noise == pytest.approx(history[1].noise, rel=1e-4)
    more = begun(1.0, 40)[1].noise / history[1].noise
    assert more == pytest.approx(math.sqrt(0.3 / 0.1), rel=1e-4)


def test_defaults_end_lower_than_much_and_little_noise():
    vectors = torch.randn(600, 12) * torch.linspace(2, 0.2, 12)
    codes = learn_codes(vectors, 8, 4, epochs=20).codes

    def error(**settings):
        return min(record.error for record in refine_codes(vectors, codes, **settings).history)

    assert error() < 0.99 * min(error(noise=0.0), error(noise=1.5), error(perturbations=0))


def test_perturbations_leave_local_minima():
    vectors = torch.randn(800, 10)
    codes = Codes.random(800, 8, 4, seed=3)
    errors = [
        min(r.error for r in refine_codes(vectors, codes, noise=0.0, rounds=8, **o).history)
        for o in ({"perturbations": 0}, {"perturbations": 6})
    ]
    assert errors[1] < 0.97 * errors[0]


def test_a_beam_as_wide_as_all_codes_finds_the_best_code_of_every_vector():
    vectors, wrong = torch.randn(200, 3), Codes.random(200, 4, 3, seed=1)
    refined = refine_codes(vectors, wrong, beam=64, rounds=1, perturbations=0)
    assert [record.noise for record in refined.history] == [0.0, 0.0]
    start = refine_codes(vectors, wrong, noise=0.0, rounds=1, perturbations=0)
    W = least_squares_codebooks(rows_of(wrong), vectors - vectors.mean(0), 4, torch.ones(200))
    every = torch.cartesian_prod(*[torch.arange(4)] * 3)
    sums = W[every + 4 * torch.arange(3)].sum(1)
    best = torch.cdist(vectors - vectors.mean(0), sums).argmin(1)
    assert torch.equal(refined.codes.tensor(), every[best])
    assert min(r.error for r in refined.history) < min(r.error for r in start.history)


def test_rounds_of_a_beam_make_books_that_suit_other_vectors():
    table = clustered_vectors(6000, 16)
    vectors, others = table[:2000], table[2000:]
    settings = LEARNERS.parse({"kind": "residual", "K": 32, "D": 5, "beam": 1})
    learned = settings.module.learn(settings, LearnerInputs(2000, vectors), 0, Control())

    def error(transform) -> float:
        found = encode(others, transform, beam=16, rounds=1)
        return relative_error(others, transform.compose_all(found.tensor()))

    refined = refine_codes(vectors, learned.codes, beam=16, rounds=3, perturbations=0)
    assert error(refined.transform) < 0.97 * error(learned.transform)
