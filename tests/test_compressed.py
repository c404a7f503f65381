"""Compressed tables by word, in models, and what is lost of them."""

import json
import pickle
import re
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gensim.models import KeyedVectors
from scipy.stats import spearmanr
from torch import nn

from kdcore import EMBEDDINGS, Codes, KDEmbedding, KDError, WordVectors, encode, learn_codes
from kdcore.command import summary
from kdcore.compressed import CompressedVectors, compress
from kdcore.embeddings import EmbeddingInputs
from kdcore.embeddings.uniform import UniformEmbedding
from kdcore.evaluation import _low_end, evaluate, read_pairs, relative_loss, spearman
from kdcore.evaluation_page import page
from kdcore.modules import compress_module

N, DIM = 40, 6
WORDS = [f"w{i}" for i in range(N)]
KINDS = [
    {"kind": "kd", "transform": {"kind": "linear"}},
    {"kind": "kd", "transform": {"kind": "linear", "code_dim": 4, "normalise": True}},
    {"kind": "kd", "transform": {"kind": "product", "groups": 2}, "packing": "code"},
    {"kind": "kd", "transform": {"kind": "lstm"}},
    {"kind": "rounded", "bits": 6, "of": {"kind": "kd", "transform": {"kind": "product"}}},
    {"kind": "uniform", "bits": 4},
    {"kind": "low_rank", "rank": 3},
]


def make(values=KINDS[0], words=WORDS, count=N):
    settings = EMBEDDINGS.parse(values)
    inputs = EmbeddingInputs(codes=Codes.random(count, 6, 4, seed=0), init_scale=1.0)
    embedding = settings.module.build(settings, count, DIM, inputs)
    return CompressedVectors(embedding, settings, words, {"ratio": 9})


@pytest.fixture
def rounding(monkeypatch):
    """Stands in for the choice of a form: 4 bits a number, whatever is asked for."""

    def compress_table(vectors, **options):
        settings = EMBEDDINGS.parse({"kind": "uniform", "bits": 4})
        how = {name: value for name, value in options.items() if value is not None}
        return SimpleNamespace(
            embedding=UniformEmbedding(vectors, 4).eval(), settings=settings, how=how
        )

    stub = SimpleNamespace(compress_table=compress_table)
    monkeypatch.setitem(sys.modules, "kdcore.compressing", stub)


every_kind = pytest.mark.parametrize("values", KINDS, ids=str)


# Looking up


@every_kind
def test_vectors_by_word_are_rows_of_the_embedding(values):
    v = make(values)
    table = v.embedding()(torch.arange(N)).detach()
    ids = torch.tensor([[1, 2], [3, 4]])
    for given, rows in (
        ("w3", 3), (["w3", "w0", "w3"], [3, 0, 3]), (3, 3), (-1, -1), (ids, ids)
    ):  # fmt: skip
        torch.testing.assert_close(v[given], table[rows])
    assert v[[]].shape == (0, DIM)
    assert len(v) == N and v.dim == DIM and list(v) == WORDS == list(v.words)
    assert "w3" in v and "x" not in v and v.index("w7") == 7


def test_who_asks_for_words_that_may_be_absent_does_not_wait_for_the_nearest(monkeypatch):
    v = make()
    sought = []
    monkeypatch.setattr(type(v.words), "nearest", lambda self, word: sought.append(word))
    with pytest.raises(KeyError) as refused:
        v["absent"]
    again = pickle.loads(pickle.dumps(refused.value))
    assert not sought
    assert str(refused.value) == str(again) == "word 'absent' is not in the table"
    assert sought == ["absent"] * 2


def test_unknown_words_and_rows_are_refused_by_name():
    v = make(words=["king", *WORDS[1:]])
    with pytest.raises(KeyError, match="'kimg' is not in the table; did you mean 'king'"):
        v["kimg"]
    with pytest.raises(KeyError, match="'kimg'"):
        v.most_similar("kimg")
    with pytest.raises(IndexError, match="row must be from 0 to 39, got 40"):
        v[40]
    with pytest.raises(IndexError, match="from 0 to 39, got 40"):
        v[torch.tensor([40])]
    with pytest.raises(TypeError, match="text or a row's number, got float"):
        v[[1.5]]
    with pytest.raises(KDError, match="words must be 40, one a row, got 1"):
        make(words=["a"])


@every_kind
def test_rows_may_be_asked_for_by_integers_of_any_type(values):
    v = make(values)
    for kind in (torch.uint8, torch.int16, torch.int32):
        assert torch.equal(v[torch.tensor([[3], [5]], dtype=kind)][:, 0], v[[3, 5]])
    assert torch.equal(v[torch.tensor(3)], v[3])
    for wrong in (torch.tensor([1.0]), torch.tensor([True])):
        with pytest.raises(TypeError, match=f"rows' numbers must be integers, got {wrong.dtype}"):
            v[wrong]


def test_a_slice_or_an_array_of_rows_gives_their_vectors():
    v = make()
    rows = torch.arange(N)
    for part in (slice(0, 3), slice(None), slice(-2, None), slice(9, 2, -3), slice(5, 5)):
        wanted = v[rows[list(range(N))[part]].tolist()]
        assert torch.equal(v[part], wanted) and v[part].shape[1] == DIM
    for kind in (np.int64, np.uint8):
        array = np.array([[1, 2], [3, 0]], kind)
        assert torch.equal(v[array], v[torch.tensor([[1, 2], [3, 0]])])
    assert torch.equal(v[np.array([-1, 3])], v[[-1, 3]])
    assert torch.equal(v[np.array(3)], v[3])
    assert torch.equal(v[np.array(["w3", "w0"])], v[["w3", "w0"]])
    with pytest.raises(IndexError, match="from 0 to 39, got 40"):
        v[np.array([[40]])]


@pytest.mark.parametrize(
    "wrong",
    [None, 1.5, True, np.True_, ..., b"w1", [True], [[1]], np.array([1.0]), [None]],
    ids=repr,
)
def test_what_is_no_word_and_no_row_is_refused_in_a_line(wrong):
    single = wrong if not isinstance(wrong, (list, np.ndarray)) else wrong[0]
    message = f"a word must be text or a row's number, got {type(single).__name__}$"
    with pytest.raises(TypeError, match=message):
        make()[wrong]
    with pytest.raises((TypeError, KDError)) as refused:
        make().most_similar(wrong)
    assert "\n" not in str(refused.value)


def test_rows_without_words_go_by_their_numbers():
    v = make(words=None)
    assert not v.has_words and torch.equal(v["7"], v[7]) and v.words[3] == "3"
    assert v.most_similar("3", topn=2)[0][0] in map(str, range(N))


@every_kind
def test_a_saved_table_is_the_same_when_loaded(values, tmp_path):
    v = make(values, words=["new york", " ", "\n", *WORDS[3:]])
    v.save(tmp_path / "v.kd")
    again = CompressedVectors.load(tmp_path / "v.kd")
    assert again.words == v.words and again.how == {"ratio": 9}
    assert again.settings == v.settings
    rows = torch.arange(N)
    assert torch.equal(again[rows], v[rows])


def test_an_embedding_is_a_copy_that_can_be_trained():
    v = make()
    before = v["w1"].clone()
    embedding = v.embedding()
    assert isinstance(embedding, KDEmbedding)
    embedding(torch.tensor([1])).sum().backward()
    with torch.no_grad():
        embedding.transform.W.add_(1)
    assert torch.equal(v["w1"], before)


# Searching


@every_kind
def test_the_most_similar_words_are_those_of_brute_force(values):
    v = make(values)
    table = nn.functional.normalize(v[torch.arange(N)].double(), dim=1)
    for word in ("w0", "w17"):
        scores = table @ table[v.index(word)]
        scores[v.index(word)] = -2
        wanted = scores.sort(descending=True)
        found = v.most_similar(word, topn=5)
        np.testing.assert_allclose([s for _, s in found], wanted.values[:5], atol=1e-5)
        near = {f"w{i}" for i in (scores > wanted.values[4] - 1e-6).nonzero().flatten().tolist()}
        assert {name for name, _ in found} <= near
    assert v.most_similar(v["w5"] * 3, topn=1)[0][1] == pytest.approx(1, abs=1e-5)
    assert len(v.most_similar("w0", topn=1000)) == N - 1


def scaled(v, factor):
    """A table of as many times the vectors, of codes where there are."""
    plain = v.embedding()
    if isinstance(plain, KDEmbedding):
        plain.transform.rescale(factor)
        transform = plain.transform.settings
        values = {"kind": "kd", "transform": transform, "packing": plain.packing}
    else:
        values = {"kind": "table"}
        plain = EMBEDDINGS.load("table").TableEmbedding(v[:] * factor)
    return CompressedVectors(plain, EMBEDDINGS.parse(values), WORDS)


@every_kind
@pytest.mark.parametrize("factor", [1e-30, 1e-20, 1e20, 1e30])
def test_vectors_of_any_size_are_searched_and_measured_alike(values, factor):
    v = make(values)
    far = scaled(v, factor)
    norms = v[:].double().norm(dim=1)
    torch.testing.assert_close(far.norms() / factor, norms, rtol=1e-5, atol=0)
    for query, other in (("w3", "w3"), (v[4], far[4])):
        wanted, found = v.most_similar(query, topn=N), far.most_similar(other, topn=N)
        np.testing.assert_allclose([s for _, s in found], [s for _, s in wanted], atol=1e-5)
    assert 0.99 < found[0][1] < 1.001 and found[0][0] in ("w4", wanted[0][0])
    coarse = compress(v[:], words=WORDS, bits_per_word=4 * DIM + 32)
    wanted = evaluate(coarse, v[:], queries=N).all
    coarse = compress(far[:], words=WORDS, bits_per_word=4 * DIM + 32)
    found = evaluate(coarse, far[:], queries=N).all
    assert found.error == pytest.approx(wanted.error, rel=0.1, abs=1e-4)
    assert found.cosine == pytest.approx(wanted.cosine, abs=1e-3)
    assert found.overlap == pytest.approx(wanted.overlap, abs=0.1) and found.overlap > 0.5


def keyed(v):
    found = KeyedVectors(v.dim)
    found.add_vectors(list(v.words), v[:].numpy())
    return found


VECTOR = np.array([0.5, -1, 2, 0.25, 0, 1], np.float32)


@every_kind
@pytest.mark.parametrize(
    "asked",
    [
        {"positive": "w1"},
        {"positive": ["w1", "w2"], "negative": ["w3"]},
        {"positive": ["w1"], "negative": "w1"},
        {"negative": ["w5", 6]},
        {"positive": [("w1", 0.5), ("w2", 2)], "negative": [("w4", -0.1)]},
        {"positive": VECTOR},
        {"positive": [VECTOR * 3, "w7"], "negative": [(VECTOR, -2.0)]},
    ],
    ids=str,
)
def test_several_words_are_asked_for_as_in_gensim(values, asked):
    v = make(values)
    wanted, found = (of.most_similar(**asked, topn=N) for of in (keyed(v), v))
    assert {word for word, _ in found} == {word for word, _ in wanted}
    scores = dict(wanted)
    for word, score in found:
        assert score == pytest.approx(scores[word], abs=2e-6)
    if "positive" in asked and "negative" not in asked:
        assert v.most_similar(asked["positive"], topn=N) == found


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "query must be a word, a vector or a list of them, got none"),
        ({"positive": []}, "query must be a word, a vector or a list of them, got none"),
        ({"query": "w1", "positive": "w2"}, "query and positive are the same, got both"),
        ({"positive": [("w1", "w2")]}, "pair of it and a number, got ('w1', 'w2')"),
        ({"positive": [("w1", float("nan"))]}, "weight must be finite, got nan"),
        ({"negative": [("w1", float("inf"))]}, "weight must be finite, got inf"),
        ({"query": "w1", "topn": ["w2"]}, "topn must be an integer, got ['w2']"),
        ({"query": "w1", "topn": 2.5}, "topn must be an integer, got 2.5"),
        ({"query": "w1", "topn": None}, "topn must be an integer, got None"),
        ({"positive": [np.ones((2, 6))]}, "query must be one vector, got 2"),
    ],
)
def test_a_search_for_what_cannot_be_is_refused_in_a_line(asked, message):
    with pytest.raises(KDError, match=re.escape(message)):
        make().most_similar(**asked)
    with pytest.raises(KeyError, match="'w99' is not in the table"):
        make().most_similar(positive=["w1", "w99"])


def test_a_search_on_codes_composes_no_vector(monkeypatch):
    v = make()
    v.norms()
    composed = []
    forward = KDEmbedding.forward
    monkeypatch.setattr(
        KDEmbedding, "forward", lambda self, ids: composed.append(len(ids)) or forward(self, ids)
    )
    v.most_similar("w0")
    assert composed == [1]


def test_a_search_for_nothing_is_refused():
    with pytest.raises(KDError, match="topn must be at least 1, got 0"):
        make().most_similar("w0", topn=0)
    with pytest.raises(KDError, match="vectors must have size 6, got 5"):
        make().most_similar(torch.ones(5))
    v = CompressedVectors(
        UniformEmbedding(torch.zeros(3, 2), 2), EMBEDDINGS.parse({"kind": "uniform", "bits": 2})
    )
    assert all(score == 0 for _, score in v.most_similar("0"))


# What it consists of


@every_kind
def test_every_bit_of_the_file_is_accounted_for(values, tmp_path):
    v = make(values)
    assert v.info().file_bits is None
    path = tmp_path / "v.kd"
    v.save(path)
    for info in (v.info(), CompressedVectors.load(path).info()):
        assert info.bits == sum(info.tensors.values()) == v.stored().size().bits
        assert info.bits_per_word == info.bits / N
        assert info.ratio == pytest.approx(N * DIM * 32 / info.bits)
        assert info.word_bits == 8 * (sum(map(len, WORDS)) + N)
        header = 8 + int.from_bytes(path.read_bytes()[:8], "little")
        assert info.file_bits == info.bits + info.word_bits + 8 * header
        json.dumps(info.as_dict())


def test_words_that_share_a_vector_are_counted():
    settings = EMBEDDINGS.parse(KINDS[0])
    codes = Codes([[0, 1], [1, 0], [0, 1], [2, 2], [1, 0], [0, 1]], K=3)
    v = CompressedVectors(KDEmbedding(codes, 4), settings)
    assert v.sharing() == v.info().sharing == 5
    assert make({"kind": "uniform", "bits": 3}).sharing() is None


# Making


def test_compress_takes_tables_in_any_form(rounding, tmp_path):
    table = torch.randn(N, DIM)
    path = tmp_path / "t.txt"
    lines = (f"w{i} {' '.join(map(repr, r))}\n" for i, r in enumerate(table.tolist()))
    path.write_text("".join(lines))
    keyed = SimpleNamespace(index_to_key=WORDS, vectors=table.numpy())
    worded = (path, str(path), keyed, WordVectors(tuple(WORDS), table))
    found = [compress(given, ratio=8) for given in (*worded, table, table.numpy())]
    assert all(torch.equal(v[torch.arange(N)], found[0][torch.arange(N)]) for v in found)
    assert [v.has_words for v in found] == [True] * 4 + [False] * 2
    assert found[0].how == {"ratio": 8}
    assert compress(table, words=WORDS, size=1e6, seed=3).how == {"size": 1e6, "seed": 3}
    with pytest.raises(KDError, match="words must be 40, one a row, got 2"):
        compress(table, words=["a", "b"], ratio=8)


def test_what_is_odd_in_a_file_is_a_warning(rounding, tmp_path):
    (tmp_path / "t.txt").write_text("a 1 2\na 2 3\nb 1 1\n")
    with pytest.warns(UserWarning, match=r"t\.txt: line 2: 'a' comes again; the first is kept"):
        compress(tmp_path / "t.txt", ratio=8)


def test_words_that_share_their_vector_are_a_warning(monkeypatch):
    def compress_table(vectors, **options):
        codes = Codes(torch.zeros(len(vectors), 1, dtype=torch.long), 2)
        settings = EMBEDDINGS.parse(KINDS[0])
        return SimpleNamespace(embedding=KDEmbedding(codes, DIM), settings=settings, how={})

    stub = SimpleNamespace(compress_table=compress_table)
    monkeypatch.setitem(sys.modules, "kdcore.compressing", stub)
    said = r"40 of 40 words \(100.0%\) have the same vector as another word; more bits a word"
    with pytest.warns(UserWarning, match=said):
        compress(torch.randn(N, DIM), ratio=100)


def test_more_words_join_and_those_that_are_there_do_not():
    v = make()
    grown = v.extended(["x", "y"], v[["w3", "w4"]])
    assert grown.words[-2:] == ["x", "y"] and len(grown) == N + 2
    torch.testing.assert_close(grown["y"], v["w4"])
    assert torch.equal(grown[WORDS], v[WORDS])
    with pytest.raises(KDError, match="words must be new, got 'w3'"):
        v.extended(["w3"], v[["w3"]])
    with pytest.raises(KDError, match="words must be 1, one a vector, got 2"):
        v.extended(["x", "y"], v[["w3"]])
    assert len(make(words=None).extended([], v[["w3"]])) == N + 1


def test_a_table_that_others_joined_says_so(tmp_path):
    """Its size is that of all; the error is of those that it was made from."""
    v = compress(torch.randn(600, 8), words=[f"w{i}" for i in range(600)], ratio=8)
    grown = v.extended(["x", "y"], v[["w3", "w4"]]).extended("z", v["w5"])
    assert grown.how["joined_later"] == 3 and grown.how["error"] == v.how["error"]
    info = grown.info()
    assert grown.how["bits_per_word"] == info.bits_per_word != v.how["bits_per_word"]
    assert grown.how["ratio"] == info.ratio
    assert "joined later: 3 words, which the error does not count" in summary(info, "v.kd")


def test_keyed_vectors_are_a_table_to_all_that_takes_one():
    keyed = KeyedVectors(DIM)
    keyed.add_vectors(WORDS, np.random.default_rng(0).normal(size=(N, DIM)).astype("float32"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # codes are not worth it for so few words
        learned = learn_codes(keyed, K=4, D=2, epochs=2, seed=1)
        assert learned.codes == learn_codes(keyed.vectors, K=4, D=2, epochs=2, seed=1).codes
    transform = learned.transform
    assert encode(keyed, transform) == encode(keyed.vectors, transform)


# Models


class Model(nn.Module):
    def __init__(self, tied=False, **options):
        super().__init__()
        self.words = nn.Embedding(50, 8, padding_idx=0, **options)
        self.kinds = nn.Embedding(2, 8)
        self.layers = nn.ModuleList([nn.Linear(8, 8)])
        self.head = nn.Linear(8, 50, bias=False)
        if tied:
            self.head.weight = self.words.weight

    def forward(self, ids):
        return self.head(self.layers[0](self.words(ids)))


def test_large_tables_of_a_model_are_replaced_and_the_rest_is_not(rounding):
    model = Model()
    ids = torch.tensor([[0, 3], [7, 0]])
    before, weight = model(ids).detach(), model.words.weight.detach().clone()
    (saved,) = compress_module(model, smallest=400, ratio=8)
    assert (saved.name, saved.words, saved.dim, saved.before) == ("words", 50, 8, 1600)
    assert saved.after == model.words.embedding.size().bits // 8 and saved.how == {"ratio": 8}
    assert re.match(r"words: 50 x 8, 0\.00 MB to 0\.00 MB", str(saved))
    assert isinstance(model.kinds, nn.Embedding)
    torch.testing.assert_close(model.words(ids), weight[ids], rtol=0, atol=0.3)
    torch.testing.assert_close(model(ids), before, rtol=0, atol=0.3)
    assert not model.words(ids)[0, 0].any(), "the padding's vector stays zero"
    assert not [p for p in model.words.parameters() if p.requires_grad]
    model.train()
    model(ids).sum().backward()
    assert model.head.weight.grad is not None and not model.words.embedding.training


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("when", ["before", "after"])
def test_vectors_have_the_models_own_type(dtype, when, rounding):
    model = Model()
    if when == "before":
        model.to(dtype)
    compress_module(model, smallest=400, ratio=8)
    model.to(dtype)
    assert model.words(torch.tensor([1])).dtype == dtype == model(torch.tensor([1])).dtype


def test_a_models_state_goes_to_one_compressed_alike(rounding, tmp_path):
    first, second = Model(), Model()
    for model in (first, second):
        compress_module(model, smallest=400, ratio=8)
    torch.save(first.state_dict(), tmp_path / "m.pt")
    second.load_state_dict(torch.load(tmp_path / "m.pt", weights_only=True))
    ids = torch.arange(50)
    assert torch.equal(first(ids), second(ids))


def test_a_tied_table_is_refused_with_what_to_do_or_kept(rounding):
    model = Model(tied=True)
    with pytest.raises(KDError) as refused:
        compress_module(model, smallest=400, ratio=8)
    assert str(refused.value) == (
        "words.weight is head's weight too, which needs the whole table: untie them (give the "
        "output layer a copy), or pass tied='keep' to leave it as it is"
    )
    assert isinstance(model.words, nn.Embedding)
    with pytest.warns(UserWarning, match="no embedding of 400 numbers or more"):
        assert compress_module(model, smallest=400, tied="keep", ratio=8) == []
    assert model.words.weight is model.head.weight
    model.head.weight = nn.Parameter(model.head.weight.detach().clone())
    assert [saved.name for saved in compress_module(model, smallest=400, ratio=8)] == ["words"]
    with pytest.raises(KDError, match="tied must be 'refuse' or 'keep', got 'maybe'"):
        compress_module(model, tied="maybe")


def test_a_table_that_cannot_be_compressed_is_named_and_the_model_stays():
    model = Model()
    model.small = nn.Embedding(2, 4)
    tables = dict(model.named_modules())
    with pytest.raises(KDError, match="small: ratio must leave room for a form of 2 words"):
        compress_module(model, smallest=8, ratio=4, forms="rounding")
    assert dict(model.named_modules()) == tables


def test_an_embedding_alone_cannot_be_replaced_in_place(rounding):
    alone = nn.Embedding(30, 8)
    with pytest.raises(KDError, match="model must be one in which a table can be replaced"):
        compress_module(alone, smallest=1, ratio=8)
    assert not list(alone.children())


def test_a_table_with_a_forward_of_its_own_stays_and_is_named(rounding):
    class Scaled(nn.Embedding):
        def forward(self, ids):
            return 10 * super().forward(ids)

    model = Model()
    model.scaled = Scaled(50, 8)
    before = model.scaled(torch.arange(50))
    with pytest.warns(UserWarning, match="scaled stays as it is: a Scaled has a forward of its"):
        (saved,) = compress_module(model, smallest=400, ratio=8)
    assert saved.name == "words" and torch.equal(model.scaled(torch.arange(50)), before)
    # Nothing else is large: it is not said that no table is.
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert compress_module(model, smallest=400, ratio=8) == []
    assert ["scaled stays" in str(warning.message) for warning in said] == [True]


def test_one_table_under_two_names_is_replaced_under_both(rounding):
    model = Model()
    model.again = model.words
    (saved,) = compress_module(model, smallest=400, ratio=8)
    assert model.again is model.words and saved.name == "words"


def test_embeddings_that_share_a_weight_share_what_takes_its_place(rounding):
    model = Model()
    model.again = nn.Embedding(50, 8)
    model.again.weight = model.words.weight
    (saved,) = compress_module(model, smallest=400, ratio=8)
    assert model.again is model.words and saved.name == "words"
    cut = Model()
    cut.again = nn.Embedding(50, 8, max_norm=0.5)
    cut.again.weight = cut.words.weight
    with pytest.raises(KDError, match=r"words\.weight is again's weight too"):
        compress_module(cut, smallest=400, ratio=8)


def test_rows_are_as_long_as_a_lookup_makes_them(rounding):
    model = Model(max_norm=0.5)
    compress_module(model, smallest=400, ratio=8)
    assert float(model.words(torch.arange(50)).norm(dim=1).max()) < 0.6


# What is lost


def parts(count=300, dim=8):
    """A table, and the same at 2 bits."""
    table = torch.randn(count, dim)
    settings = EMBEDDINGS.parse({"kind": "uniform", "bits": 2})
    words = [f"w{i}" for i in range(count)]
    v = CompressedVectors(UniformEmbedding(table, 2), settings, words)
    return table, v, WordVectors(tuple(words), table)


def test_an_evaluation_is_what_brute_force_finds():
    table, v, words = parts()
    found = evaluate(v, words, queries=300)
    composed = v[torch.arange(300)]
    error = (table - composed).square().sum() / (table - table.mean(0)).square().sum()
    cosine = nn.functional.cosine_similarity(table, composed)
    near = []
    for rows in (table, composed):
        unit = nn.functional.normalize(rows, dim=1)
        near.append((unit @ unit.T).fill_diagonal_(-2).topk(10).indices.tolist())
    overlap = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(*near, strict=True)])
    assert found.all.error == pytest.approx(float(error), rel=1e-5)
    assert found.all.cosine == pytest.approx(float(cosine.mean()), rel=1e-5)
    assert found.all.worst == pytest.approx(float(cosine.sort().values[3]), rel=1e-5)
    assert found.all.overlap == pytest.approx(overlap) and found.all.queries == 300
    assert found.ratio == v.info().ratio and sum(found.histogram) == 300
    assert found.bands == {} and found.missing == 0


def test_words_are_matched_by_name_and_bands_are_those_of_the_ranks(monkeypatch):
    monkeypatch.setattr("kdcore.evaluation.BANDS", (100, 200, 900))
    table, v, _ = parts()
    order = torch.randperm(300)[:250].tolist()
    other = WordVectors(tuple(f"w{i}" for i in order), table[order])
    found = evaluate(v, other, queries=60)
    assert found.missing == 50 and found.all.words == 250
    assert list(found.bands) == ["1 to 100", "101 to 200", f"201 to {max(order) + 1}"]
    assert [q.queries for q in found.bands.values()] == [20, 20, 20]
    rows = torch.tensor(sorted(i for i in order if i < 100))
    cosine = nn.functional.cosine_similarity(table[rows], v[rows]).mean()
    assert found.bands["1 to 100"].cosine == pytest.approx(float(cosine), rel=1e-5)
    whole = sum(q.words * q.overlap for q in found.bands.values()) / 250
    assert found.all.overlap == pytest.approx(whole)


def test_a_table_that_lost_nothing_is_perfect():
    table = torch.randn(30, 4)
    v = CompressedVectors(
        EMBEDDINGS.load("table").TableEmbedding(table), EMBEDDINGS.parse({"kind": "table"})
    )
    found = evaluate(v, table)
    assert (found.all.error, found.all.overlap) == (0, 1)
    assert found.all.cosine == pytest.approx(1) and found.histogram[-1] == 30
    assert evaluate(v, table, queries=0).all.overlap is None
    with pytest.raises(KDError, match=r"seed must be at least -2\^63 and below 2\^64"):
        evaluate(v, table, seed=2**64)


def test_a_single_vector_has_no_neighbours_to_compare():
    v = make(words=["w0", *(f"x{i}" for i in range(N - 1))])
    found = evaluate(v, WordVectors(("w0",), v[["w0"]]))
    assert found.all.error == 0 and found.all.overlap is None
    assert found.neighbours == {"w0": ((), ())}


@pytest.mark.parametrize("count", [1, 3])
def test_errors_of_equal_vectors_are_shares_of_their_lengths(count):
    row = torch.tensor([3.0, 0.1, 4.0, 0.0])
    v = CompressedVectors(
        EMBEDDINGS.load("table").TableEmbedding(row.expand(count, 4).clone()),
        EMBEDDINGS.parse({"kind": "table"}),
    )
    given = (row + torch.tensor([0.0, 0.0, 0.0, 0.5])).expand(count, 4)
    share = 0.25 / float(given[0].square().sum())
    assert evaluate(v, given).all.error == pytest.approx(share)
    assert relative_loss(given, v, 0) == pytest.approx(share)
    assert relative_loss(torch.zeros(count, 4), v, 0) == pytest.approx(count * 25.01)


def test_the_end_of_more_cosines_than_pytorch_takes_is_found():
    many = torch.zeros(2**24 + 1)
    assert _low_end(many) == 0 and _low_end(torch.arange(2000.0)) == 2


@pytest.mark.parametrize(
    ("against", "message"),
    [
        (torch.ones(29, 8), "vectors must be 300 where they are not matched by words, got 29"),
        (WordVectors(("x",), torch.ones(1, 8)), "the two tables have no word in common"),
        (torch.ones(300, 7), "vectors must be of the compressed table's size 8, got 7"),
    ],
)
def test_tables_that_cannot_be_compared_are_refused(against, message):
    with pytest.raises(KDError) as refused:
        evaluate(parts()[1], against)
    assert str(refused.value) == message


def test_ranks_correlate_as_scipy_says():
    draw = np.random.default_rng(0)
    for _ in range(5):
        a, b = draw.integers(0, 9, 40), draw.standard_normal(40)
        assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic)


@pytest.mark.parametrize("separator", ["\t", ",", " "])
def test_word_similarity_is_that_of_the_file(separator, tmp_path):
    table, v, words = parts()
    path = tmp_path / "pairs.tsv"
    rows = [("# what", "this", "is"), ("Word 1", "Word 2", "Human"), ("W3", "w4", 7.5)]
    rows += [(f"w{i}", f"w{2 * i}", i % 5) for i in range(1, 30)] + [("w1", "unknown", 3)]
    rows = rows if separator != " " else rows[2:]
    path.write_text("\n".join(separator.join(map(str, row)) for row in rows))
    read = read_pairs(path)
    assert len(read) == 31
    path.write_text("\ufeff" + path.read_text())  # as Windows marks a text
    assert read_pairs(path) == read
    (found,) = evaluate(v, words, similarity=[path], queries=0).similarity
    for one in (path, str(path)):
        assert evaluate(v, words, similarity=one, queries=0).similarity == (found,)
    assert (found.name, found.pairs, found.given) == ("pairs", 30, 31)
    pairs = [(3, 4), *((i, 2 * i) for i in range(1, 30))]
    scores = [7.5, *(i % 5 for i in range(1, 30))]
    for own, rows in ((found.before, table), (found.after, v[torch.arange(300)])):
        cosines = [float(nn.functional.cosine_similarity(rows[a], rows[b], 0)) for a, b in pairs]
        assert own == pytest.approx(spearmanr(scores, cosines).statistic, abs=1e-6)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("w1 w2 3\nw1 w2\n", "p.tsv: line 2 must be two words and a number"),
        ("w1 w2 3\nw1 w3 nan\n", "p.tsv: line 2 must be two words and a number"),
        ("a\tb\t3\n", "p.tsv: must have 3 pairs with both words in the table, got 0"),
        ("# nothing\n", "p.tsv: no pairs of words"),
        (None, "p.tsv: No such file or directory"),
    ],
)
def test_pairs_that_cannot_be_read_are_refused(content, message, tmp_path):
    if content is not None:
        (tmp_path / "p.tsv").write_text(content)
    with pytest.raises(KDError) as refused:
        evaluate(parts()[1], parts()[2], similarity=[tmp_path / "p.tsv"], queries=0)
    assert str(refused.value) == f"{tmp_path}/{message}"


def test_the_page_is_whole_and_loads_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr("kdcore.evaluation.BANDS", (100, 200))
    _, v, words = parts()
    v.words = ["<script>", *list(v.words)[1:]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = evaluate(v, words.vectors, queries=90)
    text = page(found, "vectors & more")
    assert "<title>vectors &amp; more</title>" in text and text.count("<svg") == 2
    assert not re.search(r"(src|href)=|<script|url\(", text)
    assert f"{found.all.cosine:.4f}" in text and "1 to 100" in text
    assert len(re.findall('<rect class="bar"', text)) == 40 + 3
    json.dumps(found.as_dict(), allow_nan=False)
