"""LightRNN's grid against brute force and its promise: a bijection from words to cells."""

import itertools
import math
import sys

import pytest
import torch

from kdcore import KDError
from kdcore.learners import LEARNERS, Control, LearnerInputs
from kdcore.learners.grid import assigned
from kdcore.vectors import relative_error


def learn(vectors, counts=None, seed=0, **settings):
    chosen = LEARNERS.parse({"kind": "grid", **settings})
    inputs = LearnerInputs(len(vectors), vectors, counts)
    return chosen.module.learn(chosen, inputs, seed, Control())


@pytest.mark.parametrize("words", [9, 60, 64, 65])
def test_every_word_has_a_cell_of_its_own_in_the_smallest_square(words):
    learned = learn(torch.randn(words, 12), count_power=0.0)
    K = math.ceil(math.sqrt(words))
    assert (learned.codes.K, learned.codes.D) == (K, 2)
    assert learned.codes.statistics().unique == words


def test_noise_leads_to_less_error():
    """Where each vector is the sum of a row's and a column's, none of which is told."""
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(2, 6, 8, generator=generator)
    vectors = (x[:, None] + y[None]).flatten(0, 1)[torch.randperm(36, generator=generator)]

    def errors(noise):
        settings = {"count_power": 0.0, "noise": noise, "rounds": 40}
        learned = [learn(vectors, seed=seed, **settings) for seed in range(5)]
        return sorted(min(record.error for record in of.history) for of in learned)

    without, with_noise = errors(0.0), errors(0.3)
    assert with_noise[2] < 0.9 * without[2]


@pytest.mark.parametrize("position", [0, 1])
def test_an_assignment_is_the_best_of_all(position):
    K, vectors, W = 3, torch.randn(8, 4), torch.randn(2, 3, 4)
    weights = torch.rand(8)
    cells = torch.randperm(K * K)[:8]
    indices = torch.stack([cells // K, cells % K], 1)

    def cost(words, places):
        other = indices[words, 1 - position]
        left = vectors[words] - W[1 - position][other] - W[position][places]
        return float((weights[words] * left.square().sum(1)).sum())

    found = assigned(indices, position, vectors, W, weights)
    assert torch.equal(found[:, 1 - position], indices[:, 1 - position])
    for line in range(K):
        words = (indices[:, 1 - position] == line).nonzero()[:, 0]
        ways = itertools.permutations(range(K), len(words))
        least = min(cost(words, list(way)) for way in ways)
        assert cost(words, found[words, position]) == pytest.approx(least, rel=1e-5, abs=1e-5)


def test_without_noise_the_error_falls_to_where_nothing_changes():
    vectors = torch.randn(100, 6) + torch.arange(6)
    history = learn(vectors, 1000 / torch.arange(1, 101), noise=0.0).history
    errors = [record.error for record in history]
    assert all(after <= before + 1e-4 for before, after in itertools.pairwise(errors))
    assert errors[-1] < 0.8 * errors[0] and history[-1].changed == 0


def test_the_best_round_is_given_back():
    vectors, counts = torch.randn(100, 6) + 2.0, 1000 / torch.arange(1, 101)
    learned = learn(vectors, counts)
    composed = learned.transform.compose_all(learned.codes.tensor())
    least = min(record.error for record in learned.history)
    assert least == pytest.approx(relative_error(vectors, composed, counts), rel=1e-3)


def test_frequent_words_are_served_first():
    vectors = torch.randn(100, 6)
    counts = torch.ones(100)
    counts[:20] = 100.0

    def error(learned):
        composed = learned.transform.compose_all(learned.codes.tensor())
        return (composed - vectors)[:20].square().sum()

    assert error(learn(vectors, counts)) < 0.7 * error(learn(vectors, counts, count_power=0.0))


def test_without_scipy_one_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(KDError, match=r"needs scipy, which is not installed: pip install"):
        learn(torch.randn(10, 3), count_power=0.0)
