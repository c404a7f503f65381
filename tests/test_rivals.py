"""Embeddings of others against their formulas."""

import itertools
import math

import pytest
import torch

from kdcore.codes import Codes
from kdcore.embedding import KDEmbedding
from kdcore.embeddings import (
    EMBEDDINGS,
    EmbeddingInputs,
    load_embedding,
    save_embedding,
)
from kdcore.errors import KDError


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


def test_codes_from_a_seed_take_no_further_rows():
    with pytest.raises(KDError, match="take no further rows"):
        made(SLIM, 30, 20)[1].extended(torch.randn(2, 20))


# Tensor train

TRAIN = {"kind": "tensor_train", "rank": 3}


@pytest.mark.parametrize(
    "section",
    [
        TRAIN,
        {**TRAIN, "cores": 2},
        {**TRAIN, "cores": 4},
        {**TRAIN, "rank": 6, "word_factors": [2, 7, 3], "dim_factors": [6, 1, 2]},
    ],
)
def test_a_tensor_trains_numbers_are_products_of_its_cores_matrices(section):
    embedding = made(section, 40, 12)[1].double()
    cores = [core.detach() for core in embedding.cores]
    rows, columns = ([core.shape[axis] for core in cores] for axis in (0, 2))
    tensor = torch.zeros(math.prod(rows), 12, dtype=torch.float64)
    for word, i in enumerate(itertools.product(*map(range, rows))):
        for component, j in enumerate(itertools.product(*map(range, columns))):
            product = torch.eye(1, dtype=torch.float64)
            for core, row, column in zip(cores, i, j, strict=True):
                product = product @ core[row, :, column]
            tensor[word, component] = product.item()
    assert len(tensor) >= 40
    torch.testing.assert_close(embedding(torch.arange(40)), tensor[:40])


@pytest.mark.parametrize("scale", [0.1, 0.04])
def test_a_tensor_train_starts_with_the_variance_of_a_uniform_table(scale):
    section = {**TRAIN, "rank": 16}
    tables = [
        made(section, 2000, 60, seed, init_scale=scale)[1](torch.arange(2000)) for seed in range(8)
    ]
    assert torch.stack(tables).var().item() == pytest.approx(scale**2 / 3, rel=0.1)


def test_a_tensor_trains_bits_are_those_of_its_cores_and_its_factors_are_even():
    embedding = made({**TRAIN, "rank": 32}, 10_000, 200)[1]
    assert [tuple(core.shape) for core in embedding.cores] == [
        (22, 1, 5, 32), (22, 32, 5, 32), (21, 32, 8, 1),
    ]  # fmt: skip
    assert embedding.size().bits == 32 * (22 * 5 * 32 + 22 * 5 * 32**2 + 21 * 8 * 32)
    assert [core.shape[0] for core in made(TRAIN, 27, 13)[1].cores] == [3, 3, 3]


def test_a_tensor_train_of_full_rank_can_be_any_table():
    """Full rank, two cores of one word factor: the factors of a matrix product."""
    embedding = made({**TRAIN, "cores": 2, "rank": 12, "word_factors": [4, 3]}, 12, 12)[1]
    target = torch.randn(12, 12)
    unfolded = target.view(4, 3, 3, 4).permute(0, 2, 1, 3).reshape(12, 12)
    with torch.no_grad():
        embedding.cores[0].copy_(torch.eye(12).view(4, 3, 12)[:, None])
        embedding.cores[1].copy_(unfolded.view(12, 3, 4).transpose(0, 1)[..., None])
    torch.testing.assert_close(embedding(torch.arange(12)), target)


# Tiers

TIERS = {
    "kind": "tiers", "transform": {"kind": "linear"},
    "tiers": [{"words": 5, "D": 4}, {"words": 10, "D": 1}, {"D": 2}],
}  # fmt: skip
DEPTHS = [4] * 5 + [1] * 10 + [2] * 15


@pytest.mark.parametrize("training", [True, False])
def test_words_of_a_tier_are_sums_of_its_first_positions(training):
    codes = Codes.random(30, 6, 4, seed=0)
    embedding = made(TIERS, 30, 8, codes=codes)[1].train(training)
    W = embedding.inner.transform.W
    expected = torch.stack(
        [sum(W[j, codes[word, j]] for j in range(depth)) for word, depth in enumerate(DEPTHS)]
    )
    ids = torch.randperm(30)
    torch.testing.assert_close(embedding(ids), expected[ids])
    weights = torch.randn(30, 8)
    (found,) = torch.autograd.grad((embedding(ids) * weights).sum(), W, retain_graph=True)
    (wanted,) = torch.autograd.grad((expected[ids] * weights).sum(), W)
    torch.testing.assert_close(found, wanted)


def test_positions_behind_a_tiers_last_are_neither_stored_nor_of_consequence():
    codes = Codes.random(30, 6, 4, seed=0).tensor()
    others = codes.clone()
    for word, depth in enumerate(DEPTHS):
        others[word, depth:] = 5 - others[word, depth:]
    first, second = (made(TIERS, 30, 8, codes=Codes(c, 6))[1] for c in (codes, others))
    ids = torch.arange(30)
    assert torch.equal(first(ids), second(ids))
    for a, b in zip(first.export().values(), second.export().values(), strict=True):
        assert torch.equal(a, b)


def test_dropout_leaves_out_of_a_tier_what_it_has():
    section = {**TIERS, "dropout": 0.5}
    embedding = made(section, 30, 4, codes=Codes.random(30, 6, 4, seed=0))[1]
    # Each position has a component of its own.
    with torch.no_grad():
        embedding.inner.transform.W.zero_()[torch.arange(4), :, torch.arange(4)] = 1.0
    ids = torch.arange(30)
    seen = torch.stack([embedding(ids) for _ in range(200)])
    for word, depth in enumerate(DEPTHS):
        assert set(seen[:, word, :depth].unique().tolist()) == {0.0, 2.0}
        assert not seen[:, word, depth:].any()


@pytest.mark.parametrize(("packing", "bits"), [("index", 5), ("code", None)])
def test_bits_of_tiers_are_those_of_their_codes_and_one_set_of_books(packing, bits, tmp_path):
    section = {**TIERS, "packing": packing, "tiers": [{"words": 2000, "D": 12}, {"D": 4}]}
    codes = Codes.random(10_000, 20, 12, seed=0)
    settings, embedding = made(section, 10_000, 30, codes=codes)
    each = [D * bits if bits else math.ceil(D * math.log2(20)) for D in (12, 4)]
    expected = 2000 * each[0] + 8000 * each[1] + 32 * 20 * 12 * 30
    assert embedding.size().bits == expected
    save_embedding(tmp_path / "tiers.safetensors", embedding, settings)
    ids = torch.arange(10_000)
    loaded = load_embedding(tmp_path / "tiers.safetensors")
    assert torch.equal(loaded(ids), embedding.eval()(ids))
    assert loaded.size().bits == expected
