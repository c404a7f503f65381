"""Codes that change as the model trains, and vectors that are drawn to others."""

from itertools import product

import pytest
import torch

from kdcore.codes import Codes
from kdcore.embeddings import EMBEDDINGS, EmbeddingInputs
from kdcore.errors import KDError

WORDS, DIM, K, D = 24, 6, 3, 2


def made(codes=None, transform=None, **settings):
    chosen = EMBEDDINGS.parse(
        {"kind": "reencoded", "transform": transform or {"kind": "linear"}, **settings}
    )
    torch.manual_seed(1)
    inputs = EmbeddingInputs(codes=codes or Codes.random(WORDS, K, D, seed=0))
    return chosen.module.build(chosen, WORDS, DIM, inputs)


def test_shadows_move_as_the_rows_of_a_table_do():
    embedding = made(every=100, shadow_rate=0.5)
    table = torch.nn.Embedding(WORDS, DIM)
    torch.nn.init.zeros_(table.weight)
    descent = torch.optim.SGD(table.parameters(), lr=0.2 * 0.5)
    for step in range(3):
        generator = torch.Generator().manual_seed(step)
        ids = torch.randint(WORDS, (4, 5), generator=generator)
        weights = torch.randn(4, 5, DIM, generator=generator)
        (embedding(ids) * weights).sum().backward()
        embedding.own_step(0.2)
        table.zero_grad()
        (table(ids) * weights).sum().backward()
        descent.step()
    torch.testing.assert_close(embedding.missed, table.weight.detach())


def test_the_codes_found_are_the_best_ones_and_the_rest_is_kept():
    embedding = made(every=1)
    before = embedding(torch.arange(WORDS)).detach()
    embedding.missed.copy_(torch.randn(WORDS, DIM, generator=torch.Generator().manual_seed(2)))
    shadows = before + embedding.missed
    every = torch.tensor(list(product(range(K), repeat=D)))
    errors = torch.cdist(shadows, embedding.inner.transform.compose_all(every))
    embedding.find_codes()
    after = embedding(torch.arange(WORDS)).detach()
    torch.testing.assert_close((shadows - after).norm(dim=1), errors.amin(1))
    torch.testing.assert_close(embedding.missed, shadows - after)
    assert not torch.equal(before, after)


@pytest.mark.parametrize("every", [5, 1000])
def test_training_tells_words_apart_that_began_with_one_code(every):
    """With searches; without, they stay one."""
    embedding = made(Codes(torch.zeros(WORDS, D, dtype=torch.long), K), every=every)
    generator = torch.Generator().manual_seed(3)
    wanted = torch.randn(3, DIM, generator=generator)[torch.arange(WORDS) % 3]
    descent = torch.optim.SGD(embedding.parameters(), lr=0.05)
    for _ in range(200):
        embedding.zero_grad()
        (embedding(torch.arange(WORDS)) - wanted).square().sum().backward()
        embedding.own_step(0.05)
        torch.nn.utils.clip_grad_norm_(embedding.parameters(), 1.0)
        descent.step()
    distinct = len({tuple(code) for code in embedding.inner.codes.tensor().tolist()})
    assert distinct == (3 if every == 5 else 1)


def test_a_state_that_is_stored_between_searches_goes_on_alike():
    def steps(embedding, first, last):
        for step in range(first, last):
            generator = torch.Generator().manual_seed(step)
            ids = torch.randint(WORDS, (9,), generator=generator)
            (embedding(ids) * torch.randn(9, DIM, generator=generator)).sum().backward()
            embedding.own_step(1.0)

    one, other = made(every=4), made(Codes.random(WORDS, K, D, seed=5), every=4)
    steps(one, 0, 6)
    other.load_state_dict(one.state_dict())
    for embedding in (one, other):
        steps(embedding, 6, 9)
    assert torch.equal(one.inner.packed, other.inner.packed)
    assert torch.equal(one.missed, other.missed)


@pytest.mark.parametrize(
    "transform", [{"kind": "lstm"}, {"kind": "linear", "code_dim": 4, "normalise": True}]
)
def test_a_transform_that_is_no_plain_sum_is_refused(transform):
    with pytest.raises(KDError, match="transform must be a sum over positions, not normalised"):
        made(transform=transform)


def test_vectors_are_drawn_to_those_that_are_given():
    settings = EMBEDDINGS.parse(
        {"kind": "distilled", "weight": 3.0, "of": {"kind": "low_rank", "rank": 2}}
    )
    targets = torch.randn(WORDS, DIM, generator=torch.Generator().manual_seed(4))
    torch.manual_seed(0)
    embedding = settings.module.build(settings, WORDS, DIM, EmbeddingInputs(vectors=targets))
    ids = torch.tensor([[3, 1], [3, 7]])
    extra = embedding.train()(ids).detach(), embedding.extra_loss()
    torch.testing.assert_close(extra[1], 3.0 * (extra[0] - targets[ids]).square().mean())
    # What has been taken is not added once more, and nothing is added where nothing is trained.
    assert embedding.extra_loss() is None
    embedding.eval()(ids)
    assert embedding.extra_loss() is None
