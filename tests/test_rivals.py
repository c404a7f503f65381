"""Embeddings of others against their formulas."""

import pytest
import torch

from kdcore.embedding import KDEmbedding
from kdcore.embeddings import (
    EMBEDDINGS,
    EmbeddingInputs,
    load_embedding,
    save_embedding,
)


def made(section, words, dim, seed=0, **inputs):
    settings = EMBEDDINGS.parse(section)
    torch.manual_seed(seed)
    return settings, settings.module.build(settings, words, dim, EmbeddingInputs(**inputs))


# Codes from a seed

SLIM = {"kind": "seeded", "K": 7, "D": 5, "transform": {"kind": "product"}}


def test_codes_from_a_seed_are_used_equally_often_and_differ_by_seed_and_position():
    _, embedding = made(SLIM, 1000, 20)
    indices = embedding.codes.tensor()
    used = torch.stack([torch.bincount(column, minlength=7) for column in indices.t()])
    assert used.min() >= 142 and used.max() <= 143
    assert all((indices[:, 0] != indices[:, j]).any() for j in range(1, 5))
    _, other = made({**SLIM, "seed": 1}, 1000, 20)
    assert other.codes != embedding.codes
    # Not of the model's seed.
    assert made(SLIM, 1000, 20, seed=9)[1].codes == embedding.codes


def test_an_embedding_with_codes_from_a_seed_is_that_of_these_codes(tmp_path):
    settings, embedding = made({**SLIM, "seed": 4}, 30, 20)
    with_codes = KDEmbedding(embedding.codes, transform=embedding.transform)
    ids = torch.randint(30, (4, 6))
    assert torch.equal(embedding(ids), with_codes(ids))
    save_embedding(tmp_path / "slim.safetensors", embedding, settings)
    assert torch.equal(load_embedding(tmp_path / "slim.safetensors")(ids), with_codes(ids))


@pytest.mark.parametrize(
    ("transform", "numbers"),
    [
        ({"kind": "linear"}, 16 * 8 * 50),
        ({"kind": "linear", "code_dim": 30, "normalise": True}, 16 * 8 * 30 + 30 * 50),
        ({"kind": "product", "groups": 2}, 16 * 8 * 50 // 2),
    ],
)
def test_codes_from_a_seed_cost_nothing(transform, numbers):
    section = {"kind": "seeded", "K": 16, "D": 8, "transform": transform}
    for words in (100, 10_000):
        size = made(section, words, 50)[1].size()
        assert (size.parameters, size.bits) == (numbers, 32 * numbers)
