"""Tables at a few bits a number, and codes packed whole."""

import math
import pickle

import pytest
import torch

from kdcore.codes import Codes, code_bits
from kdcore.embeddings import EMBEDDINGS, EmbeddingInputs, load_embedding, save_embedding, uniform
from kdcore.embeddings.uniform import UniformEmbedding
from kdcore.errors import KDError
from kdcore.rounding import quantise, read_rounded, rounded, store_rounded, stored_type

BOOKS = {"kind": "kd", "transform": {"kind": "linear"}}


def table(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("scales", ["row", "column"])
@pytest.mark.parametrize("bits", [1, 3, 4, 8])
@pytest.mark.parametrize("shape", [(7, 5), (2, 3, 5), (1, 1), (4, 1)])
def test_what_is_stored_is_read_again_as_it_was_rounded(shape, bits, scales):
    given = table(*shape)
    stored = store_rounded("W", given, bits, scales)
    found = read_rounded("W", stored, bits, scales)
    torch.testing.assert_close(found, rounded(given, bits, scales), rtol=0, atol=0)
    numbers = given.numel()
    scaled = numbers // shape[-1] if scales == "row" else numbers // shape[-2]
    assert len(stored["W.rounded.levels"]) == math.ceil(numbers * bits / 8)
    assert stored["W.rounded.scale"].numel() == stored["W.rounded.offset"].numel() == scaled


def test_rounding_takes_the_nearest_level_and_is_off_by_half_a_step_at_most():
    given = table(50, 20)
    levels, scale, offset = quantise(given, 8)
    every = offset.float() + scale.float() * torch.arange(256)
    nearest = (given[..., None] - every[:, None, :]).abs().argmin(-1)
    error = (rounded(given, 8) - given).abs()
    best = (every.gather(1, nearest) - given).abs()
    torch.testing.assert_close(error, best, rtol=0, atol=1e-6)
    inside = (levels > 0) & (levels < 255)
    assert (error <= 0.5 * scale.float() + 1e-6)[inside].all()


def test_more_bits_leave_less_error_and_16_bits_are_float16():
    given = table(100, 30)
    errors = [float((rounded(given, bits) - given).square().mean()) for bits in range(1, 9)]
    assert errors == sorted(errors, reverse=True)
    assert errors[3] < 0.013 < errors[2]
    torch.testing.assert_close(rounded(given, 16), given.half().float(), rtol=0, atol=0)
    assert store_rounded("W", given, 16)["W"].dtype == torch.float16


def test_a_row_of_equal_numbers_stays_as_it_is():
    given = torch.full((3, 4), 0.5)
    assert torch.equal(rounded(given, 4), given)


@pytest.mark.parametrize("scales", ["row", "column"])
@pytest.mark.parametrize("exponent", [-106, -40, -18, 17, 40, 122])
@pytest.mark.parametrize("bits", [1, 4, 8, 16])
def test_numbers_of_any_size_are_rounded_as_well_in_as_many_bits(bits, exponent, scales):
    given = table(60, 20)
    far = given * 2.0**exponent
    near = store_rounded("W", given, bits, scales)
    stored = store_rounded("W", far, bits, scales)
    assert sum(t.nbytes for t in stored.values()) == sum(t.nbytes for t in near.values())
    assert {t.dtype for t in near.values()} <= {torch.float16, torch.uint8}
    found = stored["W"].float() if bits == 16 else read_rounded("W", stored, bits, scales)
    assert torch.equal(found, rounded(far, bits, scales))
    error, usual = (
        float((a - b).double().norm() / b.double().norm())
        for a, b in ((found, far), (rounded(given, bits, scales), given))
    )
    # Scales have 8 digits in place of 11.
    assert error < {16: 0.003, 8: 1.3 * usual}.get(bits, 1.06 * usual)


def test_a_small_row_is_kept_beside_large_ones_and_noise_decides_nothing():
    given = table(50, 20)
    given[7] *= 1e-5
    found = rounded(given, 8)
    assert float((found[7] - given[7]).norm() / given[7].norm()) < 0.01
    assert stored_type([given], 8) == torch.bfloat16
    given[7] *= 1e-4
    assert stored_type([given], 8) == torch.float16
    assert stored_type([torch.zeros(3, 2)], 8) == torch.float16


@pytest.mark.parametrize(("size", "shown"), [(3e38, "3e+38"), (1e-35, "1e-35"), (math.nan, "nan")])
@pytest.mark.parametrize(
    "kind", [{"kind": "uniform"}, {"kind": "rounded", "of": {"kind": "table"}}]
)
def test_a_table_of_numbers_beyond_all_steps_is_refused_by_the_largest(size, shown, kind):
    settings = EMBEDDINGS.parse({"bits": 4, **kind})
    made = settings.module.build(settings, 3, 2, EmbeddingInputs())
    next(made.parameters()).data.copy_(torch.tensor([[size, 0.0], [0.0, 0.0], [0.0, -size]]))
    with pytest.raises(
        KDError, match=r"largest number .* from 1e-33 to 8.5e\+37 in size, got"
    ) as no:
        made.export()
    assert str(no.value).endswith(f"got {shown}")


@pytest.mark.parametrize(
    "section",
    [
        {"kind": "uniform", "bits": 5},
        {"kind": "rounded", "bits": 5, "of": {"kind": "table"}},
        {"kind": "rounded", "bits": 16, "of": {"kind": "table"}},
    ],
)
@pytest.mark.parametrize("factor", [1e-12, 1e12])
def test_numbers_of_any_size_are_stored_scored_and_extended(section, factor, tmp_path):
    settings, made = embedding(**section)
    weight = next(made.parameters())
    weight.data.copy_(table(200, 8) * factor)
    ids = torch.arange(200)
    expected = made.eval()(ids).detach()
    exact = weight.detach()
    assert float((expected - exact).norm() / exact.norm()) < 0.05
    save_embedding(tmp_path / "file", made, settings)
    loaded = load_embedding(tmp_path / "file")
    assert torch.equal(loaded(ids), expected) and loaded.size().bits == made.size().bits
    assert torch.equal(made(ids[5:9]).detach(), expected[5:9])  # alone as among all
    # Rows of another size stay exact beside those that are there.
    more = table(3, 8, seed=1)
    grown = loaded.extended(more)
    found = grown(torch.arange(203))
    assert torch.equal(found[:200], expected)
    torch.testing.assert_close(found[200:], more, rtol=0, atol=0.1)
    save_embedding(tmp_path / "grown", grown, settings)
    assert torch.equal(load_embedding(tmp_path / "grown")(torch.arange(203)), found)


@pytest.mark.parametrize(
    ("K", "D", "bits"),
    [
        (50, 10, 57),
        (20, 10, 44),
        (16, 5, 20),
        (20, 15, 65),
        (2, 60, 60),
        (2**56, 2, 112),
        (3, 1, 2),
    ],
)
def test_whole_codes_take_their_bits_and_are_read_again(K, D, bits):
    codes = Codes.random(101, K, D, seed=1)
    packed = codes.pack_whole()
    assert code_bits(K, D) == bits
    assert len(packed) == math.ceil(101 * bits / 8)
    assert Codes.from_whole(packed, K, codes.shape) == codes
    last = Codes(torch.full((3, D), K - 1), K)
    assert Codes.from_whole(last.pack_whole(), K, last.shape) == last
    if K & (K - 1) == 0:
        assert torch.equal(packed, codes.packed)


def test_a_whole_code_is_a_number_to_the_base_k():
    codes = Codes([[3, 1, 4], [0, 5, 2]], K=6)
    written = [3 + 1 * 6 + 4 * 36, 5 * 6 + 2 * 36]
    stream = written[0] | written[1] << 8  # 216 codes: 8 bits
    assert codes.pack_whole().tolist() == list(stream.to_bytes(2, "little"))


def test_whole_codes_that_are_damaged_are_refused_in_one_line():
    codes = Codes.random(5, 6, 3, seed=0)
    with pytest.raises(KDError, match=r"must be 5 bytes, got 4 of torch.uint8"):
        Codes.from_whole(codes.pack_whole()[:4], 6, codes.shape)
    with pytest.raises(KDError, match=r"code 0 must be below 6\^3, got 255"):
        Codes.from_whole(torch.full((5,), 255, dtype=torch.uint8), 6, codes.shape)


def embedding(**section):
    settings = EMBEDDINGS.parse(section)
    torch.manual_seed(3)
    codes = Codes.random(200, 20, 5, seed=0)
    return settings, settings.module.build(settings, 200, 8, EmbeddingInputs(codes=codes))


@pytest.mark.parametrize(
    ("section", "bits"),
    [
        # Codes, books at 4 bits, a scale and an offset a row or a column of each book.
        ({"bits": 4, "of": {**BOOKS, "packing": "code"}}, 200 * 22 + 800 * 4 + 100 * 32),
        ({"bits": 4, "of": BOOKS}, 200 * 25 + 800 * 4 + 100 * 32),
        ({"bits": 6, "scales": "column", "of": BOOKS}, 200 * 25 + 800 * 6 + 40 * 32),
        ({"bits": 16, "of": BOOKS}, 200 * 25 + 800 * 16),
        ({"bits": 3, "of": {"kind": "table"}}, 200 * 8 * 3 + 200 * 32),
        (
            {"bits": 8, "scales": "column", "of": {"kind": "low_rank", "rank": 2}},
            (200 * 2 + 2 * 8) * 8 + (2 + 8) * 32,
        ),
    ],
)
def test_a_rounded_embedding_takes_the_bits_of_its_formula(section, bits, tmp_path):
    settings, made = embedding(kind="rounded", **section)
    assert made.size().bits == bits
    save_embedding(tmp_path / "file", made, settings)
    loaded = load_embedding(tmp_path / "file")
    assert loaded.size().bits == bits
    ids = torch.arange(200)
    assert torch.equal(loaded(ids), made.eval()(ids))


def test_vectors_are_rounded_in_eval_mode_and_in_training_only_where_asked():
    section = {"kind": "rounded", "bits": 2, "of": {"kind": "table"}}
    ids = torch.arange(200)
    for through in (False, True):
        _, made = embedding(**section, through=through)
        weight = made.inner.weight
        exact, coarse = weight.detach(), rounded(weight.detach(), 2)
        assert torch.equal(made.eval()(ids), coarse)
        torch.testing.assert_close(made.train()(ids), coarse if through else exact)
        made(ids).square().sum().backward()
        torch.testing.assert_close(weight.grad, 2 * (coarse if through else exact))
        with torch.no_grad():
            weight.mul_(3)  # what is stored follows
        torch.testing.assert_close(made.eval()(ids), rounded(weight.detach(), 2))


def test_what_is_stored_travels_in_its_state():
    settings, made = embedding(kind="rounded", bits=4, of=BOOKS)
    stored = settings.module.load(settings, 200, 8, made.export())
    assert sum(t.numel() * t.element_size() * 8 for t in stored.state_dict().values()) == (
        made.size().bits
    )
    _, other = embedding(kind="rounded", bits=4, of=BOOKS)
    with torch.no_grad():
        other.inner.transform.W.mul_(2)
    again = settings.module.load(settings, 200, 8, other.export())
    again.load_state_dict(stored.state_dict())
    ids = torch.arange(200)
    assert torch.equal(again(ids), stored(ids))


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"bits": 0, "of": BOOKS}, "bits must be"),
        ({"bits": 12, "of": BOOKS}, "bits must be"),
        ({"bits": 4, "scales": "rows", "of": BOOKS}, "scales must be"),
        ({"bits": 4}, "of is missing"),
        ({"bits": 4, "of": {"kind": "low_rank", "rank": 9}}, "rank must be at most 8"),
        ({"bits": 4, "of": {**BOOKS, "trained": False}}, "trained must be true where there is no"),
        ({"bits": 4, "of": {**BOOKS, "packing": "radix"}}, "packing must be"),
    ],
)
def test_a_rounding_that_cannot_be_is_refused_in_one_line(section, message):
    with pytest.raises(KDError, match=message) as refused:
        embedding(kind="rounded", **section)
    assert "\n" not in str(refused.value)


def test_a_fitted_transform_that_is_not_trained_stays():
    section = {**BOOKS, "trained": False, "fit": {"epochs": 2}}
    settings = EMBEDDINGS.parse(section)
    codes, vectors = Codes.random(200, 20, 5, seed=0), table(200, 8)
    made = settings.module.build(settings, 200, 8, EmbeddingInputs(codes, vectors))
    assert not made(torch.arange(200)).requires_grad
    assert made.size().parameters == 20 * 5 * 8


def test_what_an_embedding_adds_to_the_loss_is_added_when_it_is_rounded_too():
    dpq = {"kind": "dpq", "K": 4, "D": 2, "variant": "vq"}
    for through in (False, True):
        _, made = embedding(kind="rounded", bits=4, through=through, of=dpq)
        made(torch.arange(9))
        assert made.extra_loss() > 0
    _, made = embedding(kind="rounded", bits=4, of={"kind": "table"})
    made(torch.arange(9))
    assert made.extra_loss() is None


def test_what_training_writes_past_pytorchs_versions_is_seen():
    settings = EMBEDDINGS.parse({"kind": "rounded", "bits": 8, "of": {"kind": "table"}})
    embedding = settings.module.build(settings, 5, 3, EmbeddingInputs()).eval()
    ids = torch.arange(5)
    with torch.no_grad():
        embedding(ids)
        embedding.train()
        embedding.inner.weight.data.fill_(1)
        assert torch.equal(embedding.eval()(ids), torch.ones(5, 3))
    # In another process the identities of tensors, by which it is kept, are other ones'.
    assert pickle.loads(pickle.dumps(embedding))._kept is None


@pytest.mark.parametrize("size", [1e6, 1e-9])
@pytest.mark.parametrize(
    "section",
    [
        {"kind": "uniform", "bits": 4},
        {"kind": "rounded", "bits": 4, "through": True, "of": {"kind": "table"}},
    ],
)
def test_numbers_beyond_float16_are_trained_as_they_are_stored(section, size):
    _, made = embedding(**section)
    with torch.no_grad():
        next(made.parameters()).mul_(size)
    ids = torch.arange(200)
    torch.testing.assert_close(made.train()(ids), made.eval()(ids))


def test_a_lookup_looks_at_the_whole_table_once(monkeypatch):
    """Or one word would cost as much as all of them."""
    embedding = UniformEmbedding(torch.randn(50, 4), 3).eval()
    first, looked = embedding(torch.arange(50)), []
    monkeypatch.setattr(uniform, "stored_type", lambda *_: looked.append(1) or torch.bfloat16)
    assert torch.equal(embedding(torch.arange(50)), first) and not looked
    with torch.no_grad():
        embedding.weight.mul_(1e6)
    embedding(torch.tensor([0])), embedding(torch.tensor([1]))
    assert len(looked) == 1


def test_a_uniform_embedding_is_exported_in_eval_mode():
    embedding = UniformEmbedding(torch.randn(50, 4), 3).eval()
    ids = torch.tensor([3, 0])
    graph = torch.export.export(embedding, (ids,)).module()
    torch.testing.assert_close(graph(ids), embedding(ids))
