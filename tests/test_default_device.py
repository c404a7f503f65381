"""PyTorch's default device decides nothing of what is computed on the CPU.

`meta` stands for a GPU here: its tensors have no numbers, so whatever is made there fails at once.
"""

import pytest
import torch
from torch import nn

import kdcore
from kdcore import Codes, CompressedVectors, KDEmbedding

N, DIM = 300, 8


@pytest.fixture
def vectors():
    return torch.randn(N, DIM, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def words():
    return [f"w{i}" for i in range(N)]


@pytest.fixture
def elsewhere():
    """Runs a call with and without another default device."""

    def run(call):
        torch.manual_seed(0)
        here = call()
        torch.manual_seed(0)
        torch.set_default_device("meta")
        try:
            there = call()
        finally:
            torch.set_default_device("cpu")
        return here, there

    yield run
    assert torch.get_default_device().type == "cpu"


@pytest.mark.parametrize("form", ["rounding", "low-rank", "product", "additive"])
def test_a_table_is_compressed_loaded_and_used_as_ever(vectors, words, form, elsewhere, tmp_path):
    path, more = tmp_path / "t.kd", vectors[:3] + 0.1

    def use():
        made = kdcore.compress(vectors, words=words, ratio=6, forms=form)
        made.save(path)
        v = CompressedVectors.load(path)
        found = [v["w1"], v[["w1", "w2"]], v[3:5], v[torch.tensor([1, 2], device="cpu")], v.norms()]
        found += [v.embedding()(torch.tensor([4, 5], device="cpu")), *v.blocks(100)]
        if form != "low-rank":
            found.append(v.extended(["a", "b", "c"], more)["b"])
        quality = kdcore.evaluate(v, vectors, queries=20)
        return found, v.most_similar("w1"), v.info().bits, quality.all.error

    (tensors, *rest), (others, *same) = elsewhere(use)
    assert same == rest and {t.device.type for t in others} == {"cpu"}
    for ours, theirs in zip(tensors, others, strict=True):
        assert torch.equal(ours, theirs)


def test_codes_are_learned_refined_found_and_stored_as_ever(vectors, elsewhere, tmp_path):
    def learn():
        learned = kdcore.learn_codes(vectors, 8, 4, epochs=2, refinement={"rounds": 2})
        found = kdcore.encode(vectors[:9], learned.transform)
        kdcore.save_decoder(tmp_path / "decoder", learned.transform)
        decoder = kdcore.load_decoder(tmp_path / "decoder")
        error = kdcore.fit_transform(decoder, learned.codes, vectors, epochs=1)
        whole = learned.codes.pack_whole()
        again = Codes.from_whole(whole, 8, learned.codes.shape)
        assert again == learned.codes and Codes.cat([again, found])[N:].shape == (9, 4)
        return learned.codes, found, error, Codes(learned.codes.tensor().tolist(), 8)

    here, there = elsewhere(learn)
    assert here == there


def test_a_models_table_is_replaced_as_ever(elsewhere, vectors):
    def replace():
        table = nn.Embedding(N, DIM, device="cpu", _weight=vectors.clone())
        model = nn.Sequential(table, nn.Linear(DIM, 2, device="cpu"))
        kdcore.compress_module(model, smallest=100, ratio=4, forms=["rounding"])
        return model[0](torch.tensor([0, 7], device="cpu"))

    here, there = elsewhere(replace)
    assert torch.equal(here, there)


def test_a_module_is_made_where_all_modules_are(elsewhere):
    _, made = elsewhere(lambda: KDEmbedding(Codes.random(N, 8, 4, seed=0), DIM, code_dim=5))
    assert {t.device.type for t in made.state_dict().values() if t.numel() != 3} == {"meta"}


def test_a_module_of_a_ready_transform_is_where_that_is(elsewhere):
    codes = Codes.random(N, 8, 4, seed=0)
    transform = kdcore.LinearTransform(8, 4, DIM)
    made = [KDEmbedding(codes, transform=transform), KDEmbedding.from_pretrained(codes, transform)]
    made += elsewhere(lambda: KDEmbedding(codes, transform=transform))
    made += elsewhere(lambda: KDEmbedding.from_pretrained(codes, transform))
    ids = torch.tensor([3, 4])
    for embedding in made:
        assert torch.equal(embedding.eval()(ids), made[0](ids))
