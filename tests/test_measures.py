import pytest
import torch

from kdcore.codes import Codes
from kdlab.measures import cosine_by_shared_positions, directions, mean_cosine, nmi, tightest_codes


def test_nmi_is_one_for_renamed_labels_and_near_zero_for_unrelated_ones():
    labels = torch.arange(1000) % 10
    assert nmi(labels, (labels + 3) % 10) == pytest.approx(1.0)
    assert nmi(labels, torch.randint(10, (1000,))) < 0.05


def test_cosine_by_shared_positions_against_a_loop():
    vectors = torch.randn(40, 5)
    indices = torch.randint(3, (40, 3))
    centred = vectors - vectors.mean(0)
    expected = {s: [] for s in range(4)}
    for a in range(40):
        for b in range(a + 1, 40):
            shared = int((indices[a] == indices[b]).sum())
            cosine = torch.cosine_similarity(centred[a], centred[b], dim=0)
            expected[shared].append(float(cosine))
    found = cosine_by_shared_positions(vectors, indices)
    for s in range(4):
        assert float(found[s]) == pytest.approx(sum(expected[s]) / len(expected[s]), abs=1e-5)


def test_mean_cosine_of_a_group_is_that_of_its_pairs():
    own = directions(torch.randn(40, 5))[:7]
    pairs = [float(own[a] @ own[b]) for a in range(7) for b in range(a)]
    assert mean_cosine(own.sum(0), 7) == pytest.approx(sum(pairs) / len(pairs), abs=1e-6)


def test_tightest_codes_are_those_of_like_words():
    apart = torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0]])
    alike = torch.tensor([[0, 0, 1.0], [0, 0.1, 1], [0.1, 0, 1]])
    groups = Codes([[1, 0]] * 3 + [[0, 2]] * 3 + [[2, 2]], 3).groups()
    assert groups == {"1-0": [0, 1, 2], "0-2": [3, 4, 5], "2-2": [6]}
    vectors = torch.cat([apart, alike, torch.randn(1, 3)])
    assert tightest_codes(vectors, groups, range(2, 4)) == ["0-2", "1-0"]
    assert tightest_codes(vectors, groups) == []


def test_no_pair_gives_no_number():
    found = cosine_by_shared_positions(torch.randn(3, 2), torch.tensor([[0], [1], [2]]))
    assert torch.isfinite(found[0]) and torch.isnan(found[1])
