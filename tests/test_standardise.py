import pytest
import torch

from kdcore import KDError, LinearTransform, LSTMTransform
from kdcore.standardise import Standardisation


@pytest.fixture
def vectors() -> torch.Tensor:
    return torch.randn(200, 5) * torch.tensor([50.0, 2.0, 1.0, 0.5, 0.1])


@pytest.mark.parametrize("offset", [0.0, 1000.0])
@pytest.mark.parametrize("components", [False, True])
def test_folded_into_a_transform_that_composes_targets_it_composes_vectors(
    vectors, offset, components
):
    vectors = (vectors + offset).double()
    standard = Standardisation.of(vectors, components=components)
    # One book of as many rows as there are vectors: it composes any targets.
    transform = LinearTransform(200, 1, 5).double()
    with torch.no_grad():
        transform.W[0] = standard.apply(vectors)
    standard.fold_into(transform)
    composed = transform.compose_all(torch.arange(200)[:, None])
    torch.testing.assert_close(composed, vectors, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(transform.error_scale, standard.spread.float())


def test_targets_have_unit_size_and_lose_the_mean_where_it_outweighs_the_spread(vectors):
    for offset, removed in ((0.0, False), (1000.0, True)):
        standard = Standardisation.of(vectors + offset)
        targets = standard.apply(vectors + offset)
        assert float(targets.square().mean()) == pytest.approx(1.0, rel=1e-4)
        assert bool(standard.mean.any()) == removed
        assert torch.equal(standard.spread, torch.ones(5))
        assert float(targets.mean(0).abs().max()) < 1e-3 or not removed


def test_components_that_are_to_count_alike_get_mean_zero_and_variance_one(vectors):
    vectors = torch.cat([vectors, torch.full((200, 1), 7.0)], 1)
    targets = Standardisation.of(vectors, components=True).apply(vectors).double()
    torch.testing.assert_close(targets.mean(0), torch.zeros(6).double(), atol=1e-5, rtol=0)
    spread = targets.std(0, correction=0)
    # The last has no spread. The scale is that of all six.
    torch.testing.assert_close(spread[:5], spread[:1].expand(5), rtol=1e-5, atol=0)
    assert float(spread[5]) == 0 and float(targets.square().mean()) == pytest.approx(1, rel=1e-4)


def test_mean_stays_for_a_transform_that_cannot_add_it(vectors):
    transform = LSTMTransform(4, 3, 5)
    assert not Standardisation.of(vectors + 1000, transform).mean.any()
    with pytest.raises(KDError, match="standardise must be false for a LSTMTransform"):
        Standardisation.of(vectors, transform, components=True)
