"""Compressed tables in models as people have them: transformers, graphs, several processes."""

import copy
import os
import warnings
from datetime import timedelta
from functools import cache

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from kdcore import Codes, KDEmbedding, KDError, compress_module
from kdcore.modules import CompressedEmbedding

WORDS, DIM = 600, 32
IDS = torch.randint(1, WORDS, (2, 7), generator=torch.Generator().manual_seed(1))
SMALL = {
    "vocab_size": WORDS, "hidden_size": DIM, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 32, "max_position_embeddings": 64,
}  # fmt: skip


@pytest.fixture(scope="module")
def transformers():
    with warnings.catch_warnings():
        # What it warns of while it is imported is its own.
        warnings.simplefilter("ignore")
        import transformers

        for name in ("BertModel", "LlamaForCausalLM"):
            getattr(transformers, name)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


def bert(transformers, **options):
    return transformers.BertModel(transformers.BertConfig(**SMALL, **options)).eval()


def llama(transformers, tied):
    config = transformers.LlamaConfig(**SMALL, num_key_value_heads=2, tie_word_embeddings=tied)
    return transformers.LlamaForCausalLM(config).eval()


def compressed(model, **options):
    (saved,) = compress_module(model, smallest=WORDS * DIM, **{"ratio": 4, **options})
    return saved


def gap(found, wanted):
    return float((found.detach() - wanted.detach()).norm() / wanted.detach().norm())


# transformers


def test_an_encoders_words_are_compressed_and_its_output_stays(transformers):
    model = bert(transformers)
    before = model(IDS).last_hidden_state
    saved = compressed(model)
    assert saved.name == "embeddings.word_embeddings" and (saved.words, saved.dim) == (WORDS, DIM)
    assert saved.before == WORDS * DIM * 4 >= 4 * saved.after
    table = model.get_input_embeddings()
    assert isinstance(table, CompressedEmbedding)
    assert isinstance(model.embeddings.position_embeddings, nn.Embedding)
    after = model(IDS).last_hidden_state
    assert 0 < gap(after, before) < 0.02
    # Padding is zeros, as in the model's own table.
    assert not table(torch.tensor([0])).any()
    for dtype in (torch.bfloat16, torch.float16):
        half = copy.deepcopy(model).to(dtype)
        assert half.get_input_embeddings()(IDS).dtype == dtype
        found = half(IDS).last_hidden_state
        assert found.dtype == dtype and gap(found.float(), after) < 0.02


def test_a_language_model_is_compressed_and_generates(transformers):
    model = llama(transformers, tied=False)
    before, options = model(IDS).logits, {"do_sample": False, "max_new_tokens": 4}
    assert compressed(model).name == "model.embed_tokens"
    assert 0 < gap(model(IDS).logits, before) < 0.02
    mask = torch.ones_like(IDS)
    assert model.generate(IDS, attention_mask=mask, pad_token_id=0, **options).shape == (2, 11)
    model.tie_weights()
    assert isinstance(model.get_input_embeddings(), CompressedEmbedding)


def test_a_tied_language_model_is_refused_or_left_or_untied(transformers):
    model = llama(transformers, tied=True)
    before = model(IDS).logits
    with pytest.raises(KDError) as refused:
        compressed(model)
    assert str(refused.value) == (
        "model.embed_tokens.weight is lm_head's weight too, which needs the whole table: untie "
        "them (give the output layer a copy and set config.tie_word_embeddings = False), or pass "
        "tied='keep' to leave it as it is"
    )
    with pytest.warns(UserWarning, match="no embedding of 19,200 numbers or more to compress"):
        assert compress_module(model, smallest=WORDS * DIM, tied="keep", ratio=4) == []
    assert model.lm_head.weight is model.model.embed_tokens.weight
    # What the message says.
    model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone())
    model.config.tie_word_embeddings = False
    assert compressed(model).name == "model.embed_tokens"
    model.tie_weights()
    assert 0 < gap(model(IDS).logits, before) < 0.02


def test_an_encoder_and_a_decoder_share_their_words(transformers, tmp_path):
    config = transformers.T5Config(
        vocab_size=WORDS, d_model=DIM, d_kv=16, d_ff=32, num_layers=1, num_heads=2
    )
    model, other = (transformers.T5Model(config).eval() for _ in range(2))
    before = model(IDS, decoder_input_ids=IDS).last_hidden_state
    for each in (model, other):
        assert compressed(each).name == "shared"
    assert model.encoder.embed_tokens is model.shared is model.decoder.embed_tokens
    after = model(IDS, decoder_input_ids=IDS).last_hidden_state
    assert gap(after, before) < 0.05
    torch.save(model.state_dict(), tmp_path / "model.pt")
    other.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    assert torch.equal(other(IDS, decoder_input_ids=IDS).last_hidden_state, after)


def test_positions_that_a_model_counts_in_its_own_way_stay(transformers):
    config = transformers.OPTConfig(
        vocab_size=WORDS, hidden_size=DIM, ffn_dim=32, num_hidden_layers=1, num_attention_heads=2,
        word_embed_proj_dim=DIM, max_position_embeddings=2 * WORDS,
    )  # fmt: skip
    model = transformers.OPTModel(config).eval()
    before = model(IDS).last_hidden_state
    with pytest.warns(UserWarning, match=r"decoder\.embed_positions stays as it is"):
        saved = compressed(model)
    assert saved.name == "decoder.embed_tokens"
    assert gap(model(IDS).last_hidden_state, before) < 0.05


def test_what_transformers_saves_goes_to_a_model_compressed_alike(transformers, tmp_path):
    model = bert(transformers)
    second = copy.deepcopy(model)
    compressed(model, forms=["low-rank"], ratio=8)
    for parameter in model.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(tmp_path)
    size = (tmp_path / "model.safetensors").stat().st_size
    second.save_pretrained(tmp_path / "whole")
    whole = (tmp_path / "whole" / "model.safetensors").stat().st_size
    assert whole - size > WORDS * DIM * 4 * 0.8, "the file has no full table"
    compressed(second, forms=["low-rank"], ratio=8)
    second.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert torch.equal(second(IDS).last_hidden_state, model(IDS).last_hidden_state)


@pytest.mark.parametrize("of_codes", [False, True])
def test_more_tokens_are_refused_with_what_to_do(of_codes, transformers):
    model = llama(transformers, tied=False)
    if of_codes:
        model.set_input_embeddings(KDEmbedding(Codes.random(WORDS, 16, 8, seed=0), DIM))
    else:
        compressed(model)
    before = model(IDS).logits
    with pytest.raises(AttributeError) as refused:
        model.resize_token_embeddings(WORDS + 3)
    name = type(model.get_input_embeddings()).__name__
    assert str(refused.value) == (
        f"a {name} has no weight, its vectors are composed: what ties, resizes or sets a table "
        "must be done with the table that it replaces"
    )
    assert model.config.vocab_size == WORDS and torch.equal(model(IDS).logits, before)


def test_tokens_are_added_before(transformers):
    model = bert(transformers)
    model.resize_token_embeddings(WORDS + 3, mean_resizing=False)
    assert compressed(model).words == WORDS + 3
    assert model(IDS + 3).last_hidden_state.isfinite().all()


# Graphs


@cache
def of_form(form):
    torch.manual_seed(0)
    made = nn.Sequential(nn.Embedding(WORDS, DIM), nn.Linear(DIM, 4)).eval()
    compressed(made, ratio=12, forms=[form])
    return made


@pytest.fixture(params=["rounding", "low-rank", "product-additive"])
def model(request):
    return copy.deepcopy(of_form(request.param))


def compiled(model):
    return torch.compile(model, backend="aot_eager", fullgraph=True)


def exported(model):
    return torch.export.export(model, (IDS,)).module()


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("graph", [compiled, exported])
def test_a_compressed_model_is_one_graph(graph, model):
    torch._dynamo.reset()
    wanted = model(IDS)
    torch.testing.assert_close(graph(model)(IDS), wanted)
    # A copy that has composed nothing, and one that was moved.
    torch.testing.assert_close(graph(copy.deepcopy(model))(IDS), wanted)
    moved = copy.deepcopy(model).to(torch.float64)
    torch.testing.assert_close(graph(moved)(IDS).float(), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
def test_a_graph_has_the_numbers_that_were_loaded(model):
    other = copy.deepcopy(model)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for tensor in state.values():
        if tensor.dtype == torch.float16:
            tensor.mul_(2)
    other.load_state_dict(state)
    assert gap(other(IDS), model(IDS)) > 0.3
    again = copy.deepcopy(model)
    again.load_state_dict(state)
    torch.testing.assert_close(exported(again)(IDS), other(IDS))


def test_a_compressed_model_is_made_without_memory_and_loaded(model):
    empty = copy.deepcopy(model).to("meta").to_empty(device="cpu")
    empty.load_state_dict(model.state_dict())
    assert torch.equal(empty(IDS), model(IDS))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_mixed_precision_takes_what_is_stored_as_it_is(dtype, model):
    wanted = model[0](IDS)
    with torch.autocast("cpu", dtype):
        found = model[0](IDS)
    assert found.dtype == wanted.dtype and gap(found, wanted) < 0.01


def test_what_is_stored_keeps_its_types(model):
    wanted = model(IDS)
    kinds = {name: b.dtype for name, b in model[0].embedding.named_buffers()}
    model.bfloat16()
    assert model[0](IDS).dtype == model(IDS).dtype == torch.bfloat16
    assert {name: b.dtype for name, b in model[0].embedding.named_buffers()} == kinds
    table = model[0].float()(IDS)
    half = model[0].bfloat16()(IDS)
    assert torch.equal(half, table.bfloat16()), "rounded once, at the end"
    torch.testing.assert_close(model.float()(IDS), wanted, rtol=0.02, atol=0.02)


# Several processes


def small(seed=0):
    torch.manual_seed(seed)
    embedding = KDEmbedding(
        Codes.random(50, 8, 4, seed=0), 6, code_dim=5, padding_idx=0, gradient_scale=0.5
    )
    return nn.Sequential(embedding, nn.Flatten(), nn.Linear(18, 2))


def batch():
    torch.manual_seed(2)
    return torch.randint(50, (8, 3)), torch.randint(2, (8,))


def train(model, ids, labels):
    """Gradients of the first of three steps, and the parameters at their end."""
    optimizer, gradients = torch.optim.SGD(model.parameters(), lr=0.5), []
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(ids), labels).backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
        optimizer.step()
    return gradients[0], [p.detach() for p in model.parameters()]


def work(rank, folder):
    """One of two processes.

    It skips Python's own end, where PyTorch's threads may wait for each other for ever (PyTorch's
    issue 190489).
    """
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", f"file://{folder}/meet", rank=rank, world_size=2, timeout=timedelta(minutes=5)
    )
    try:
        # Ranks start from other numbers: those of the first are taken.
        model = DistributedDataParallel(small(seed=rank))
        ids, labels = batch()
        found = train(model, ids[rank::2], labels[rank::2])
        model.eval()(ids)
        codes = model.module[0].codes
        assert codes == Codes.random(50, 8, 4, seed=0)
        torch.save(found, f"{folder}/{rank}.pt")
    finally:
        dist.destroy_process_group()
    os._exit(0)


def test_processes_in_parallel_train_as_one(tmp_path):
    processes = [
        mp.get_context("spawn").Process(target=work, args=(rank, str(tmp_path)), daemon=True)
        for rank in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=300)
    assert [process.exitcode for process in processes] == [0, 0]
    wanted = train(small(), *batch())
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt")
        for ours, theirs in zip(found, wanted, strict=True):
            torch.testing.assert_close(ours, theirs)
