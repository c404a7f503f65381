"""Embeddings of any kind get further rows; what is there stays."""

import pytest
import torch

from kdcore import EMBEDDINGS, Codes, KDEmbedding, KDError, encode, load_embedding, save_embedding
from kdcore.codes import append_packed, pack, unpack_at
from kdcore.compressed import CompressedVectors
from kdcore.embeddings import EmbeddingInputs

N, MORE, DIM = 21, 6, 5
KD = {"kind": "kd", "transform": {"kind": "linear"}}
KINDS = [
    {"kind": "table"},
    {"kind": "uniform", "bits": 3},
    {"kind": "low_rank", "rank": 2},
    KD,
    {"kind": "kd", "transform": {"kind": "product", "groups": 2}, "packing": "code"},
    {"kind": "rounded", "bits": 8, "of": KD},
    {"kind": "rounded", "bits": 8, "scales": "column", "of": KD},
    {"kind": "rounded", "bits": 5, "of": {"kind": "low_rank", "rank": 2}},
    {"kind": "rounded", "bits": 16, "of": {"kind": "low_rank", "rank": 2}},
]


def stored(values, tmp_path):
    """An embedding as it is stored, and its settings."""
    settings = EMBEDDINGS.parse(values)
    inputs = EmbeddingInputs(codes=Codes.random(N, 6, 4, seed=0), init_scale=1.0)
    built = settings.module.build(settings, N, DIM, inputs).eval()
    save_embedding(tmp_path / "e.safetensors", built, settings)
    return load_embedding(tmp_path / "e.safetensors"), settings


@pytest.mark.parametrize("values", KINDS, ids=str)
def test_rows_join_and_those_that_are_there_stay(values, tmp_path):
    embedding, settings = stored(values, tmp_path)
    before = embedding(torch.arange(N)).detach()
    # Vectors that the embedding can compose are found again.
    vectors = before[torch.randperm(N)[:MORE]]
    grown = embedding.extended(vectors)
    assert (grown.num_embeddings, grown.embedding_dim) == (N + MORE, DIM) and not grown.training
    after = grown(torch.arange(N + MORE)).detach()
    assert torch.equal(after[:N], before)
    step = 0.5 if values["kind"] == "uniform" else 0.05 if values["kind"] == "rounded" else 1e-5
    torch.testing.assert_close(after[N:], vectors, rtol=0, atol=step)
    save_embedding(tmp_path / "g.safetensors", grown, settings)
    assert torch.equal(load_embedding(tmp_path / "g.safetensors")(torch.arange(N + MORE)), after)


@pytest.mark.parametrize("scales", ["row", "column"])
def test_as_many_words_as_books_are_no_books(scales):
    settings = EMBEDDINGS.parse({"kind": "rounded", "bits": 8, "scales": scales, "of": KD})
    inputs = EmbeddingInputs(codes=Codes.random(N, 6, N + 1, seed=0))
    embedding = CompressedVectors(
        settings.module.build(settings, N, DIM, inputs), settings
    ).stored()  # fmt: skip
    before = embedding(torch.arange(N))
    grown = embedding.extended(before[:1])
    assert torch.equal(grown(torch.arange(N)), before) and grown.num_embeddings == N + 1


def test_new_codes_are_those_of_encode(tmp_path):
    embedding, _ = stored(KD, tmp_path)
    vectors = torch.randn(MORE, DIM)
    found = embedding.extended(vectors).codes.tensor()
    assert torch.equal(found[N:], encode(vectors, embedding.transform).tensor())


@pytest.mark.parametrize(
    ("values", "vectors", "message"),
    [
        ({"kind": "hashed", "buckets": 4}, torch.ones(1, DIM),
         "HashedEmbedding takes no further rows; compress all of them anew"),
        ({"kind": "kd", "transform": {"kind": "lstm"}}, torch.ones(1, DIM),
         "transform must be a sum over positions, got LSTMTransform"),
        ({"kind": "rounded", "bits": 4, "scales": "column", "of": {"kind": "low_rank", "rank": 2}},
         torch.ones(1, DIM),
         "a table whose columns have a scale each takes no further rows; compress all of them "
         "anew"),
        ({"kind": "uniform", "bits": 3}, torch.ones(1, DIM + 1),
         "vectors must have size 5, got 6"),
        ({"kind": "low_rank", "rank": 2}, torch.ones(1, DIM) * torch.nan,
         "vector 0 must be finite, got a value that is not"),
    ],
)  # fmt: skip
def test_what_cannot_join_is_refused_in_a_line(values, vectors, message, tmp_path):
    embedding, _ = stored(values, tmp_path)
    with pytest.raises(KDError) as refused:
        embedding.extended(vectors)
    assert str(refused.value) == message


@pytest.mark.parametrize("bits", [1, 3, 6, 8, 13])
@pytest.mark.parametrize("count", [0, 1, 7, 8, 19])
def test_a_longer_stream_is_that_of_all_numbers_together(bits, count):
    numbers = torch.randint(1 << bits, (count + 11,))
    found = append_packed(pack(numbers[:count], bits), count, numbers[count:], bits)
    assert torch.equal(found, pack(numbers, bits))
    assert torch.equal(unpack_at(found, torch.arange(count + 11), bits), numbers)


def test_an_embedding_with_words_has_them_in_its_file(tmp_path):
    from kdcore.embeddings import load_stored
    from kdcore.words import Words

    embedding, settings = stored(KD, tmp_path)
    words = Words([f"w{i}" for i in range(N)])
    path = tmp_path / "w.kd"
    save_embedding(path, embedding, settings, words=words, how={"ratio": 20})
    found = load_stored(path)
    assert found.words == words and found.how == {"ratio": 20} and found.settings == settings
    assert isinstance(load_embedding(path), KDEmbedding)
    with pytest.raises(KDError, match="words must be 21, one a row, got 1"):
        save_embedding(path, embedding, settings, words=Words(["a"]))
    assert load_stored(tmp_path / "e.safetensors").words is None


def test_one_word_joins_by_its_name_and_vector_alone():
    settings = EMBEDDINGS.parse({"kind": "uniform", "bits": 8})
    built = settings.module.build(settings, 2, DIM, EmbeddingInputs())
    v = CompressedVectors(built, settings, ["a", "b"])
    vector = torch.rand(DIM)
    grown, listed = v.extended("new", vector), v.extended(["new"], vector[None])
    assert list(grown) == ["a", "b", "new"] == list(listed)
    assert torch.equal(grown["new"], listed["new"])
    with pytest.raises(KDError, match="words must be 1, one a vector, got 3"):
        v.extended(["n", "e", "w"], vector)
