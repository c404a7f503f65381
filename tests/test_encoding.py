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
    load_decoder,
    save_decoder,
)
from kdcore.encoding import Encoder
from kdcore.transforms.product import ProductTransform


def errors(transform: LinearTransform, codes: Codes, vectors: torch.Tensor) -> torch.Tensor:
    return (transform.compose_all(codes.tensor()).double() - vectors).square().sum(1)


@pytest.mark.parametrize(
    ("options", "offset", "factor"),
    [
        ({}, 0.0, 1.0), ({}, 100.0, 1.0), ({}, 0.0, 1e20), ({}, 0.0, 1e-25),
        ({"code_dim": 7}, 0.0, 1.0), ({"code_dim": 7, "normalise": True}, 0.0, 1.0),
    ],
)  # fmt: skip
def test_small_codes_are_the_best_of_all(options, offset, factor):
    vectors = torch.randn(40, 5) + offset
    transform = LinearTransform(4, 3, 5, init_scale=1.0, **options)
    if options.get("normalise"):
        fit_transform(transform, Codes.random(40, 4, 3, seed=1), vectors, epochs=3)
    if offset:
        transform.add_offset(torch.full((5,), offset))
    transform.rescale(factor)
    vectors = vectors * factor
    codes = encode(vectors, transform.train())
    assert transform.training
    every = Codes(list(itertools.product(range(4), repeat=3)), 4)
    left = (transform.compose_all(every.tensor()).double()[:, None] - vectors) / factor
    least = left.square().sum(2).min(0).values
    found = errors(transform, codes, vectors) / factor**2
    torch.testing.assert_close(found, least, rtol=1e-3, atol=1e-3)
    assert codes == encode(vectors, transform)


@pytest.fixture
def learned():
    return learn_codes(torch.randn(500, 8), 8, 4, epochs=5, refinement={"rounds": 5})


def test_one_vector_gets_the_code_that_it_has_among_others(learned):
    vectors = torch.randn(3, 8)
    single = [encode(vector, learned.transform) for vector in vectors]
    assert all(code.shape == (1, 4) for code in single)
    assert [encode(vectors[i : i + 1], learned.transform) for i in range(3)] == single
    assert encode(vectors[0].numpy(), learned.transform) == single[0]
    assert encode(vectors[0].tolist(), learned.transform) == single[0]


def test_equal_vectors_get_equal_codes_at_little_error(learned):
    codes = encode(torch.ones(4, 8), learned.transform)
    left = errors(learned.transform, codes, torch.ones(4, 8))
    assert codes.statistics().unique <= 4 and bool((left < 8).all())


def test_codes_go_by_the_scales_that_the_decoder_was_learned_under(tmp_path):
    """A component 50 times as large as the others does not decide."""
    vectors = torch.randn(1500, 8)
    vectors[:, 0] *= 50
    learned = learn_codes(vectors, 8, 4, epochs=20, standardise=True, refinement={"rounds": 10})
    save_decoder(tmp_path / "decoder", learned.transform)
    decoder = load_decoder(tmp_path / "decoder")

    def lost(codes: Codes) -> float:
        composed = decoder.compose_all(codes.tensor())
        spread = (vectors - vectors.mean(0))[:, 1:].square().sum()
        return float((composed - vectors)[:, 1:].square().sum() / spread)

    assert lost(encode(vectors, decoder)) < 1.05 * lost(learned.codes)
    decoder.error_scale = torch.ones(8)
    assert lost(encode(vectors, decoder)) > 1.5 * lost(learned.codes)


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
        errors(learned.transform, encode(vectors, learned.transform, beam=1, rounds=n), vectors)
        for n in (1, 32)
    )
    assert (many <= few + 1e-6).all() and many.mean() < 0.95 * few.mean()
    wide = errors(learned.transform, encode(vectors, learned.transform, rounds=1), vectors)
    assert wide.mean() < 0.95 * few.mean()


def test_a_code_does_not_depend_on_the_other_vectors_or_on_how_they_are_cut():
    books = ProductTransform(16, 12, 9, groups=2, init_scale=1.0)
    vectors = torch.randn(3000, 9)
    whole = encode(vectors, books, beam=4, rounds=3)
    for cut in (1000, 1234, 2999):
        parts = [encode(part, books, beam=4, rounds=3) for part in vectors.split(cut)]
        assert (Codes.cat(parts).tensor() == whole.tensor()).all(1).double().mean() > 0.999


def test_groups_are_encoded_each_by_itself():
    books = ProductTransform(6, 6, 11, groups=3, init_scale=1.0)
    vectors = torch.randn(50, 11)
    codes = encode(vectors, books).tensor()
    for group, part in enumerate(books.slices):
        alone = LinearTransform(6, 2, part.stop - part.start)
        with torch.no_grad():
            alone.W.copy_(books.slice_books(group))
        here = slice(2 * group, 2 * group + 2)
        assert torch.equal(encode(vectors[:, part], alone).tensor(), codes[:, here])


@pytest.mark.parametrize("groups", [1, 3])
def test_a_wide_beam_alone_finds_the_best_codes_of_all(groups):
    books = ProductTransform(4, 3, 6, groups=groups, init_scale=1.0)
    vectors = torch.randn(60, 6)
    found = Codes(Encoder(books, beam=16, rounds=0)(vectors), 4)
    every = books.compose_all(torch.tensor(list(itertools.product(range(4), repeat=3))))
    least = torch.cdist(vectors.double(), every.double()).square().min(1).values
    torch.testing.assert_close(errors(books, found, vectors), least, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("vectors", "options", "message"),
    [
        (torch.randn(6, 4), {}, "vectors must be of the transform's size 5, got 4"),
        (torch.full((6, 5), torch.nan), {}, "vector 0 must be finite"),
        ([[1.0] * 5, [1.0]], {}, "vectors must be a table of numbers"),
        (torch.zeros(0, 5), {}, r"vectors must have shape \(N, d\), got \(0, 5\)"),
        (torch.randn(6, 5), {"rounds": 0}, "rounds must be at least 1, got 0"),
        (torch.randn(6, 5), {"beam": 0}, "beam must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_encoded_is_refused_in_one_line(vectors, options, message):
    with pytest.raises(KDError, match=message):
        encode(vectors, LinearTransform(4, 3, 5), **options)


def test_transform_that_is_no_sum_is_refused():
    with pytest.raises(KDError, match="transform must be a sum over positions, got LSTMTransform"):
        encode(torch.randn(6, 5), LSTMTransform(4, 3, 5))
