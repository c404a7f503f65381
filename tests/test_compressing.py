import json
import math
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from clustered import clustered_vectors

from kdcore import CompressedVectors, KDError, blocks, code_forms, compress, forms, learn_codes
from kdcore import compressing as c
from kdcore.compressing import compress_table
from kdcore.embeddings import load_embedding, save_embedding
from kdcore.size import stored_bits
from kdcore.vectors import relative_error

N, DIM = 800, 16


@pytest.fixture(scope="module")
def clustered() -> torch.Tensor:
    return clustered_vectors(N, DIM)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Seconds, not minutes."""
    monkeypatch.setattr(code_forms, "LEAST_ROUNDS", 2)
    monkeypatch.setattr(code_forms, "MOST_ROUNDS", 2)
    monkeypatch.setattr(code_forms, "VALUES", (8, 32))


def composed(found) -> torch.Tensor:
    return found.embedding(torch.arange(found.embedding.num_embeddings))


@pytest.mark.parametrize(
    ("target", "bits"),
    [
        ({"ratio": 12}, N * DIM * 32 / 12),
        ({"bits_per_word": 50.5}, 50.5 * N),
        ({"size": 5_000}, 40_000),
    ],
)
def test_a_table_takes_no_more_than_was_asked_and_little_less(clustered, target, bits, tmp_path):
    found = compress_table(clustered, **target)
    taken = stored_bits(found.embedding.export())
    assert 0.8 * bits < taken <= bits
    how = found.how
    assert how["bits_per_word"] == taken / N and how["ratio"] == N * DIM * 32 / taken
    assert how["error"] == pytest.approx(relative_error(clustered, composed(found)), rel=1e-3)
    assert json.loads(json.dumps(how)) == how
    chosen = [row for row in how["tried"] if row["chosen"]]
    assert len(chosen) == 1 and how["chosen"].startswith(chosen[0]["form"])
    assert chosen[0]["bits_per_word"] == pytest.approx(taken / N, abs=0.01)
    save_embedding(tmp_path / "table", found.embedding, found.settings)
    again = load_embedding(tmp_path / "table")
    assert torch.equal(again(torch.arange(N)), composed(found))


def test_the_error_falls_with_the_size(clustered):
    errors = [compress_table(clustered, ratio=ratio).how["error"] for ratio in (30, 10, 3)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.01


def test_no_form_that_was_tried_in_as_many_bits_is_better_than_the_chosen_one(clustered):
    tried = compress_table(clustered, ratio=12).how["tried"]
    (chosen,) = (row for row in tried if row["chosen"])
    assert chosen["error"] <= c.SIMPLER * min(row["error"] for row in tried)
    assert "codes" in chosen["form"]
    simple = [row["error"] for row in tried if "codes" not in row["form"]]
    assert chosen["error"] < 0.7 * min(simple)


def test_books_of_a_sample_are_refined_by_a_beam_and_so_are_those_with_few_rounds(
    clustered, monkeypatch
):
    refinements = []

    def learn(settings, *others):
        if settings.rounds == code_forms.BEAM_ROUNDS:  # not those of a trial
            refinements.append(settings)
        return refine_learn(settings, *others)

    refine_learn = code_forms.refine.learn
    monkeypatch.setattr(code_forms.refine, "learn", learn)
    compress_table(clustered, ratio=12, forms=["additive"])
    assert refinements == []  # of all rows, with rounds enough
    monkeypatch.setattr(code_forms, "LEAST_ROUNDS", 10**9)
    compress_table(clustered, ratio=12, forms=["additive"])
    monkeypatch.setattr(code_forms, "LEAST_ROUNDS", 2)
    monkeypatch.setattr(code_forms, "LEARNED_ROWS", 400)  # the others are encoded
    sampled = compress_table(clustered, ratio=12, forms=["additive"]).how["error"]
    assert [found.beam for found in refinements] == [code_forms.SEARCHES[0][1] // 2] * 2
    monkeypatch.setattr(code_forms, "BEAM_ROUNDS", 1)
    monkeypatch.setattr(code_forms, "SEARCHES", ((math.inf, 2, 0),))
    narrow = compress_table(clustered, ratio=12, forms=["additive"]).how["error"]
    assert sampled < 0.98 * narrow


def test_codes_are_not_proposed_where_rounding_is_better():
    """Many numbers a vector, without structure, four bits each."""
    vectors = torch.randn(600, 96)
    found = compress_table(vectors, ratio=6.5)
    assert found.settings.kind == "uniform"
    assert "rounded to 4 bits" in found.how["chosen"]
    assert found.how["error"] < 0.02


def test_a_table_of_low_rank_is_found_to_be_one():
    vectors = torch.randn(800, 3) @ torch.randn(3, 40) + 1e-3 * torch.randn(800, 40)
    found = compress_table(vectors, ratio=12)
    assert found.settings.of.kind == "low_rank" and found.how["error"] < 0.01


@pytest.mark.parametrize("form", c.FORMS)
def test_a_form_that_is_asked_for_is_taken_and_no_other_tried(clustered, form):
    found = compress_table(clustered, ratio=8, forms=[form])
    inner = found.settings if form == "rounding" else found.settings.of
    groups = getattr(getattr(found.embedding.plain(), "transform", None), "groups", 1)
    if form in ("rounding", "low-rank"):
        assert inner.kind == {"rounding": "uniform", "low-rank": "low_rank"}[form]
    else:
        depth = found.embedding.plain().D // groups
        kind = "additive" if groups == 1 else "product" if depth == 1 else "product-additive"
        assert (inner.kind, kind) == ("kd", form)
    others = [compress_table(clustered, ratio=8, forms=[f, form]) for f in c.FORMS if f != form]
    assert all(other.how["error"] <= 1.03 * found.how["error"] for other in others)
    assert all(len(other.how["tried"]) > len(found.how["tried"]) for other in others)


def test_the_error_of_codes_of_one_index_is_that_of_all_words():
    table = torch.randn(64, 1)
    found = compress_table(table, ratio=3, forms=["product"])
    assert "D = 1," in found.how["chosen"]
    assert found.how["error"] == pytest.approx(relative_error(table, composed(found).view(64, 1)))


def test_a_single_group_is_no_product(clustered):
    small = compress_table(clustered, ratio=24, forms=["product-additive", "product"])
    assert all("additive codes" not in row["form"] for row in small.how["tried"])


def test_a_bound_on_the_error_is_kept_and_a_looser_one_takes_less(clustered):
    tight, loose = (compress_table(clustered, max_error=error).how for error in (0.01, 0.3))
    assert tight["error"] <= 0.01 and loose["error"] <= 0.3
    assert loose["ratio"] > 1.5 * tight["ratio"] > 3


def test_equal_seeds_give_equal_bytes(clustered):
    first, again, other = (compress_table(clustered, ratio=12, seed=s) for s in (1, 1, 2))
    tensors = [found.embedding.export() for found in (first, again, other)]
    assert all(torch.equal(tensors[0][name], tensors[1][name]) for name in tensors[0])
    assert any(not torch.equal(tensors[0][n], tensors[2].get(n, tensors[0][n])) for n in tensors[0])


@pytest.mark.parametrize("form", c.FORMS)
@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16])
def test_pytorchs_default_type_decides_nothing(clustered, form, kind, tmp_path):
    def made():
        v = compress(clustered[:400], ratio=6, forms=form)
        v.save(tmp_path / "v.kd")
        loaded = CompressedVectors.load(tmp_path / "v.kd")
        return (tmp_path / "v.kd").read_bytes(), loaded.most_similar("3"), loaded[:]

    *wanted, vectors = made()
    torch.set_default_dtype(kind)
    try:
        *found, again = made()
        if form == "additive":
            CompressedVectors.load(tmp_path / "v.kd").extended([], clustered[:2])
            learn_codes(clustered[:400], K=8, D=2, epochs=1, refinement={"rounds": 1})
    finally:
        torch.set_default_dtype(torch.float32)
    assert found == wanted and torch.equal(again, vectors)


def test_blocks_and_a_file_on_disk_give_the_same_as_the_whole(clustered, tmp_path, monkeypatch):
    for ratio in (12, 4):
        whole = compress_table(clustered, ratio=ratio).embedding.export()
        np.save(tmp_path / "table.npy", clustered.numpy())
        mapped = np.load(tmp_path / "table.npy", mmap_mode="r")
        with monkeypatch.context() as smaller:
            smaller.setattr(blocks, "BLOCK", 256)
            parts = compress_table(mapped, ratio=ratio).embedding.export()
        assert whole.keys() == parts.keys()
        for name, tensor in whole.items():
            assert torch.equal(tensor, parts[name]), name


def test_a_table_larger_than_the_sample_is_compressed_nearly_as_well(clustered, monkeypatch):
    known = compress_table(clustered, ratio=12).how["error"]
    monkeypatch.setattr(forms, "TRIED_ROWS", 400)
    monkeypatch.setattr(code_forms, "LEARNED_ROWS", 600)
    assert compress_table(clustered, ratio=12).how["error"] < 2 * known


def test_frequent_words_are_composed_better(clustered):
    counts = torch.where(torch.arange(N) < 100, 1e4, 1.0)

    def lost(**options) -> float:
        found = compress_table(clustered, bits_per_word=25, **options)
        return float((composed(found) - clustered)[:100].square().sum())

    assert lost(counts=counts) < 0.8 * lost()


def test_little_time_is_kept_to_and_progress_is_told(clustered):
    told = []
    found = compress_table(
        clustered, ratio=12, seconds=0.01, report=lambda what, share: told.append((what, share))
    )
    assert found.how["ratio"] >= 12
    assert all(0 <= share <= 1 for _, share in told)
    assert ("measuring the error", 1.0) in told


def test_books_are_learned_from_fewer_rows_where_time_is_short(clustered, monkeypatch):
    learn, seen = code_forms._learn, []

    def counted(form, vectors, *others, **more):
        seen.append(len(vectors))
        return learn(form, vectors, *others, **more)

    monkeypatch.setattr(code_forms, "_learn", counted)
    for few, seconds, learned in (
        (300, None, [N]), (300, 0.01, [300]), (300, 1000.0, [300, N]), (N, 1000.0, [N])
    ):  # fmt: skip
        monkeypatch.setattr(code_forms, "FEW_ROWS", few)
        compress_table(clustered, ratio=12, forms=["product"], seconds=seconds)
        assert seen[-len(learned) :] == learned
        seen.clear()


def test_a_ratio_below_one_keeps_the_table_and_equal_rows_are_no_obstacle(clustered):
    found = compress_table(clustered, ratio=1)
    assert found.settings.kind == "table" and found.how["error"] == 0
    assert torch.equal(composed(found), clustered)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same = compress_table(torch.ones(40, 6), ratio=2)
    assert same.how["error"] < 1e-6
    # Of codes alone the reason is told.
    for target in ({"ratio": 2}, {"max_error": 0.1}):
        with pytest.raises(KDError, match="vectors must not all be equal, got 40 times the same"):
            compress_table(torch.ones(40, 6), forms=["product"], **target)


def test_no_time_is_no_want_of_room(clustered):
    for target in ({"ratio": 10}, {"max_error": 0.3}):
        found = compress_table(clustered, forms=["additive"], seconds=1e-9, **target)
        assert found.how["chosen"].startswith("additive codes")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "exactly one of ratio, bits_per_word, size and max_error must be given, got none"),
        ({"ratio": 2, "size": 9}, "must be given, got ratio, size"),
        ({"ratio": 0}, "ratio must be above 0 and finite, got 0"),
        ({"max_error": math.inf}, "max_error must be above 0 and finite, got inf"),
        ({"ratio": 5, "seconds": 0}, "seconds must be above 0, got 0"),
        ({"ratio": 5, "seconds": "9"}, "seconds must be a number, got '9'"),
        ({"ratio": np.array([5, 6])}, r"ratio must be a number, got array\(\[5, 6\]\)"),
        ({"size": torch.ones(2)}, r"size must be a number, got tensor\(\[1., 1.\]\)"),
        (
            {"size": 3},
            r"size must leave room for a form of 30 words of 4 numbers, got 3; "
            "one bit a number takes 36 bits a word",
        ),
        ({"size": 30, "forms": ["product"]}, "size must leave room for product of 30 words of 4"),
        ({"ratio": 2, "forms": ["producd"]}, "form 'producd' is unknown; did you mean 'product'"),
        ({"ratio": 2, "forms": []}, "forms must be some of rounding, low-rank, .*, got none"),
        ({"max_error": 1e-9, "forms": ["low-rank"]}, "must be one that low-rank"),
        ({"ratio": 2, "counts": torch.ones(3)}, r"counts must have shape \(30,\), got \(3,\)"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(options, message):
    with pytest.raises(KDError, match=message) as refused:
        compress_table(torch.randn(30, 4), **options)
    assert "\n" not in str(refused.value)


def test_vectors_that_are_not_finite_are_named():
    for kind in (torch.from_numpy, lambda x: x):
        vectors = np.zeros((20_000, 4), dtype=np.float32)
        vectors[17_003, 2] = np.nan
        with pytest.raises(KDError, match="vector 17003 must be finite"):
            compress_table(kind(vectors), ratio=2)


def test_threads_that_begin_later_have_as_many_as_before(clustered):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        compress_table(clustered, ratio=8, forms=["product"])
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == 2
    finally:
        torch.set_num_threads(before)


def test_a_seed_may_be_any_integer_and_nothing_else(clustered, tmp_path):
    found = compress_table(clustered, ratio=4, forms=["rounding"], seed=np.int64(3))
    save_embedding(tmp_path / "v.kd", found.embedding, found.settings, how=found.how)
    for seed in (-(2**63), 2**64 - 1):
        compress_table(clustered, ratio=4, forms=["rounding"], seed=seed)
    with pytest.raises(KDError, match="seed must be an integer"):
        compress_table(clustered, ratio=4, seed=1.5)
    for seed in (-(2**63) - 1, 2**64):
        with pytest.raises(KDError, match=f"below 2\\^64, got {seed}"):
            compress_table(clustered, ratio=4, seed=seed)


@pytest.mark.parametrize("count", [1, 40])
def test_the_error_of_equal_vectors_is_a_share_of_their_length(count):
    found = compress_table(torch.full((count, 5), 0.3), ratio=1.9, forms=["rounding"])
    assert found.how["error"] < 1e-6
    assert all(row["error"] < 1e-6 for row in found.how["tried"])


def test_a_target_in_words_is_refused():
    with pytest.raises(KDError, match="size must be a number, got '10MB'"):
        compress_table(torch.ones(4, 2), size="10MB")


@pytest.mark.parametrize("form", c.FORMS)
def test_the_size_of_numbers_decides_neither_form_nor_error(clustered, form):
    usual = compress_table(clustered, ratio=8, forms=[form])
    for exponent in (-70, 19, 100):
        found = compress_table(clustered * 2.0**exponent, ratio=8, forms=[form])
        assert stored_bits(found.embedding.export()) == stored_bits(usual.embedding.export())
        assert found.how["error"] == pytest.approx(usual.how["error"], rel=0.05)


def test_a_vector_of_which_zeros_are_left_is_named(clustered):
    small = clustered.clone()
    small[[3, 5]] *= 1e-12
    with pytest.warns(UserWarning, match=r"of 2 of 800 vectors nothing .* first is that of '3'"):
        compress(small, ratio=5, forms=["rounding"])
    small[[3, 5]] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compress(small, ratio=5, forms=["rounding"])


def test_one_form_may_be_given_by_its_name_alone(clustered):
    for form in ("rounding", "low-rank"):
        alone = compress_table(clustered, ratio=8, forms=form)
        assert alone.how == compress_table(clustered, ratio=8, forms=[form]).how
    with pytest.raises(KDError, match="forms: form 'roundin' is unknown; did you mean 'rounding'"):
        compress(clustered, ratio=8, forms="roundin")
