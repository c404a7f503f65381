import itertools

import pytest
import torch

from kdcore import (
    Codes,
    KDError,
    LinearTransform,
    LSTMTransform,
    encode,
    fit_transform,
    learn_codes,
)


def errors(transform: LinearTransform, codes: Codes, vectors: torch.Tensor) -> torch.Tensor:
    return (transform.table(codes.tensor()) - vectors).square().sum(1)


@pytest.mark.parametrize(
    ("options", "offset"),
    [({}, 0.0), ({}, 100.0), ({"code_dim": 7}, 0.0), ({"code_dim": 7, "normalise": True}, 0.0)],
)
def test_codes_are_the_best_of_all(options, offset):
    vectors = torch.randn(40, 5)
    transform = LinearTransform(4, 3, 5, init_scale=1.0, **options)
    if options.get("normalise"):
        fit_transform(transform, Codes.random(40, 4, 3, seed=1), vectors, epochs=3)
    with torch.no_grad():
        transform.W += offset / 3
    vectors = vectors + offset
    every = Codes(list(itertools.product(range(4), repeat=3)), 4)
    differences = transform.table(every.tensor())[:, None] - vectors
    least = differences.square().sum(2).min(0).values
    codes = encode(vectors, transform.train())
    assert transform.training
    torch.testing.assert_close(errors(transform, codes, vectors), least, rtol=1e-3, atol=1e-3)
    assert codes == encode(vectors, transform)


def test_further_vectors_are_composed_nearly_as_well_as_those_of_the_decoder():
    """Of one distribution: a mixture of 30 parts."""
    centres = torch.randn(30, 8)
    vectors = centres[torch.randint(30, (900,))] + 0.3 * torch.randn(900, 8)
    learned = learn_codes(vectors[:600], 8, 4, epochs=60, refinement={"rounds": 10})
    spread = (vectors - vectors.mean(0)).square().sum(1).mean()
    known = encode(vectors[:600], learned.transform)
    shares = [
        float(errors(learned.transform, codes, part).mean() / spread)
        for codes, part in (
            (learned.codes, vectors[:600]), (known, vectors[:600]),
            (encode(vectors[600:], learned.transform), vectors[600:]),
            (Codes.random(300, 8, 4, seed=0), vectors[600:]),
        )
    ]  # fmt: skip
    assert shares[1] < 1.05 * shares[0] and shares[2] < 2 * shares[0] < 0.5 * shares[3]
    few, many = (
        errors(learned.transform, encode(vectors, learned.transform, rounds=n), vectors)
        for n in (1, 8)
    )
    assert (many <= few).all() and many.mean() < 0.9 * few.mean()


@pytest.mark.parametrize(
    ("vectors", "options", "message"),
    [
        (torch.randn(6, 4), {}, "size 4, the transform's have 5"),
        (torch.full((6, 5), torch.nan), {}, "finite"),
        (torch.randn(6, 5), {"rounds": 0}, "rounds = 0"),
    ],
)
def test_what_cannot_be_encoded_is_one_clear_line(vectors, options, message):
    with pytest.raises(KDError, match=message):
        encode(vectors, LinearTransform(4, 3, 5), **options)


def test_only_a_linear_transform_encodes():
    with pytest.raises(KDError, match="not a LSTMTransform"):
        encode(torch.randn(6, 5), LSTMTransform(4, 3, 5))
