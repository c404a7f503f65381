import warnings
from itertools import pairwise

import pytest
import torch
from sklearn.cluster import KMeans

from kdcore import KDError, encode, learn_codes, refine_codes
from kdcore.clustering import k_means, nearest_centres
from kdcore.learners import LEARNERS, Control, LearnedCodes, LearnerInputs
from kdcore.vectors import relative_error

N, SIZE = 600, 12


@pytest.fixture
def vectors() -> torch.Tensor:
    """Around 40 centres, components of unequal spread."""
    centres = torch.randn(40, SIZE)
    scale = torch.linspace(0.5, 2.0, SIZE)
    return (centres[torch.randint(40, (N,))] + 0.4 * torch.randn(N, SIZE)) * scale


def learn(vectors: torch.Tensor, seed: int = 0, counts=None, **settings) -> LearnedCodes:
    chosen = LEARNERS.parse({"kind": "residual", "K": 8, "D": 4, **settings})
    inputs = LearnerInputs(len(vectors), vectors, counts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # so few words are not worth a code
        return chosen.module.learn(chosen, inputs, seed, Control())


def error(vectors: torch.Tensor, learned: LearnedCodes) -> float:
    return relative_error(vectors, learned.transform.compose_all(learned.codes.tensor()))


# k-means


@pytest.mark.parametrize("weighted", [False, True])
def test_k_means_is_as_good_as_that_of_scikit_learn(vectors, weighted):
    weights = torch.rand(N) + 0.1 if weighted else torch.ones(N)
    centres = k_means(vectors, 10, weights=weights, iterations=50)
    _, distance = nearest_centres(vectors, centres)
    theirs = KMeans(10, init="random", n_init=5, random_state=0)
    theirs.fit(vectors.numpy(), sample_weight=weights.numpy())
    assert float(distance @ weights) < 1.15 * theirs.inertia_
    # Where Lloyd's algorithm stands still: every centre is the mean of what is nearest to it.
    settled = k_means(vectors, 10, weights=weights, iterations=200)
    nearest, _ = nearest_centres(vectors, settled)
    for k in range(10):
        w = weights[nearest == k]
        mean = w @ vectors[nearest == k] / w.sum()
        torch.testing.assert_close(settled[k], mean, rtol=1e-3, atol=1e-3)


def test_nearest_centres_are_those_of_all_distances(vectors):
    centres = torch.randn(9, SIZE)
    nearest, distance = nearest_centres(vectors, centres)
    every = torch.cdist(vectors.double(), centres.double()).square()
    torch.testing.assert_close(distance.double(), every.min(1).values, rtol=1e-4, atol=1e-5)
    assert torch.equal(nearest, every.argmin(1))


def test_no_centre_is_left_without_vectors_where_there_are_enough():
    vectors = torch.cat([torch.zeros(500, 2), 10 + torch.randn(20, 2)])
    centres = k_means(vectors, 15, iterations=30)
    nearest, _ = nearest_centres(vectors, centres)
    assert len(nearest.unique()) == 15


@pytest.mark.parametrize("n", [3, 8])
def test_few_distinct_vectors_are_centres_themselves(n):
    distinct = torch.randn(n, 4)
    centres = k_means(distinct.repeat(5, 1), 8, iterations=30)
    assert centres.shape == (8, 4) and bool(centres.isfinite().all())
    _, distance = nearest_centres(distinct, centres)
    assert float(distance.max()) < 1e-9


# The learner


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_codes_and_books_of_a_group_are_those_of_the_group_alone(vectors, groups):
    """As far as k-means, whose random rows differ, lets them be."""
    learned = learn(vectors, groups=groups, beam=4)
    alone = [
        learn(vectors[:, part].contiguous(), D=4 // groups, beam=4)
        for part in learned.transform.slices
    ]
    composed = torch.cat([one.transform.compose_all(one.codes.tensor()) for one in alone], 1)
    assert error(vectors, learned) == pytest.approx(relative_error(vectors, composed), rel=0.1)


def test_a_product_quantizer_has_the_nearest_centroid_of_every_slice(vectors):
    learned = learn(vectors, groups=4)
    for group, part in enumerate(learned.transform.slices):
        books = learned.transform.slice_books(group)[0]
        nearest, _ = nearest_centres(vectors[:, part], books)
        assert torch.equal(nearest, learned.codes.tensor()[:, group])


def test_the_error_falls_with_positions_with_values_and_with_the_beam(vectors):
    for settings in (
        [{"D": D} for D in (1, 2, 4, 6)],
        [{"K": K} for K in (2, 5, 8, 19)],
        [{"beam": beam} for beam in (1, 4, 16)],
        [{"groups": groups, "beam": 16} for groups in (4, 2, 1)],
    ):
        errors = [error(vectors, learn(vectors, **s)) for s in settings]
        assert all(b < a for a, b in pairwise(errors)), (settings, errors)
    history = learn(vectors, D=6).history
    assert [record.positions for record in history] == [1, 2, 3, 4, 5, 6]
    assert all(b.error < a.error for a, b in pairwise(history))
    assert history[-1].error == pytest.approx(error(vectors, learn(vectors, D=6)), rel=1e-3)


def test_equal_seeds_give_equal_codes_and_others_others(vectors):
    first, again, other = (learn(vectors, seed=seed) for seed in (3, 3, 4))
    assert first.codes == again.codes and torch.equal(first.transform.W, again.transform.W)
    assert first.codes != other.codes


def test_books_of_a_sample_encode_all_words_nearly_as_well(vectors):
    known = error(vectors, learn(vectors))
    seen = learn(vectors, sample=400)
    assert len(seen.codes) == N and seen.history[-1].positions == 4
    assert error(vectors, seen) < 1.5 * known
    assert error(vectors, seen) == pytest.approx(seen.history[-1].error, rel=1e-3)
    # The words are encoded as further ones are.
    assert error(vectors, LearnedCodes(encode(vectors, seen.transform), seen.transform, ())) < (
        1.01 * error(vectors, seen)
    )
    everything = learn(vectors, sample=N)
    assert everything.codes == learn(vectors).codes


def test_words_with_higher_counts_are_composed_better(vectors):
    counts = torch.where(torch.arange(N) < 60, 400.0, 1.0)

    def of_some(learned: LearnedCodes) -> float:
        composed = learned.transform.compose_all(learned.codes.tensor())
        return float((composed - vectors)[:60].square().sum())

    assert of_some(learn(vectors, counts=counts)) < 0.7 * of_some(learn(vectors))
    alike = learn(vectors, counts=torch.full((N,), 9.0))
    assert alike.codes == learn(vectors).codes


def test_a_large_mean_or_component_does_not_decide(vectors):
    assert error(vectors + 1000, learn(vectors + 1000)) == pytest.approx(
        error(vectors, learn(vectors)), rel=0.05
    )
    uneven = vectors * torch.tensor([100.0] + [1.0] * (SIZE - 1))
    plain, standard = (learn(uneven, standardise=s) for s in (False, True))

    def lost(learned: LearnedCodes) -> float:
        left = learned.transform.compose_all(learned.codes.tensor()) - uneven
        return float((left[:, 1:]).square().sum() / uneven[:, 1:].square().sum())

    assert lost(standard) < 0.7 * lost(plain)
    spread = uneven.std(0, correction=0)
    torch.testing.assert_close(standard.transform.error_scale, spread, rtol=1e-4, atol=0)


def test_sizes_that_groups_do_not_divide_are_cut_as_evenly_as_can_be():
    vectors = torch.randn(300, 11)
    learned = learn(vectors, D=4, groups=4)
    assert [part.stop - part.start for part in learned.transform.slices] == [3, 3, 3, 2]
    assert error(vectors, learned) < 0.6


@pytest.mark.parametrize("rows", [3, 8])
def test_fewer_words_than_values_are_composed_exactly_and_warned_of(rows):
    vectors = torch.randn(rows, 5)
    chosen = LEARNERS.parse({"kind": "residual", "K": 8, "D": 2})
    with pytest.warns(UserWarning, match="fewer than the K = 8|do not save anything"):
        learned = chosen.module.learn(chosen, LearnerInputs(rows, vectors), 0, Control())
    composed = learned.transform.compose_all(learned.codes.tensor())
    torch.testing.assert_close(composed, vectors, atol=2e-3, rtol=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"groups": 3}, "groups must divide the D = 4 positions, got 3"),
        ({"D": 13, "groups": 13}, "groups must be at most the 12 components of a vector, got 13"),
    ],
)
def test_groups_that_cannot_be_are_refused_in_one_line(vectors, settings, message):
    with pytest.raises(KDError, match=message) as refused:
        learn(vectors, **settings)
    assert "\n" not in str(refused.value)


def test_a_sample_without_counts_above_zero_is_refused(vectors):
    counts = torch.zeros(N)
    counts[0] = 1
    with pytest.raises(KDError, match="counts must be finite, none negative, and not all zero"):
        learn(vectors, counts=counts, sample=2)


def test_k_means_of_more_words_a_centre_ends_lower(vectors):
    few, many = (learn(vectors, words_per_centre=count) for count in (4, 75))
    assert error(vectors, many) < 0.95 * error(vectors, few)
    assert torch.equal(learn(vectors).codes.tensor(), many.codes.tensor())  # 256 are all here


def test_a_start_without_logits_ends_as_low_as_algorithm_1(vectors):
    """Both refined; the start takes a tenth of the time."""
    refinement = {"rounds": 10}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        slow = learn_codes(vectors, K=8, D=4, epochs=40, seed=1, refinement=refinement)
        quick = refine_codes(vectors, learn(vectors).codes, seed=1, **refinement)
    assert error(vectors, quick) < 1.05 * error(vectors, slow)
