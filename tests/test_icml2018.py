"""The learner of ICML 2018 against its formulas, written out token by token."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from kdcore.embeddings import EMBEDDINGS, EmbeddingInputs, load_embedding, save_embedding
from kdcore.embeddings.icml2018 import EPSILON
from kdlab.language_model import LanguageModel
from kdlab.language_model_settings import LanguageModelSettings
from kdlab.training import training_step

WORDS, DIM, K, D = 30, 6, 5, 3
CASES = [{"code_dim": 9}, {"code_dim": None}, {"code_dim": 4, "distil": 7.0}]
every_case = pytest.mark.parametrize("case", CASES, ids=["h", "no-h", "distilled"])


def made(words=WORDS, dim=DIM, seed=0, **settings):
    chosen = EMBEDDINGS.parse({"kind": "icml2018", "K": K, "D": D, **settings})
    vectors = torch.randn(words, dim, generator=torch.Generator().manual_seed(3))
    torch.manual_seed(seed)
    inputs = EmbeddingInputs(vectors=vectors, init_scale=1.0)
    return chosen, chosen.module.build(chosen, words, dim, inputs)


def normal(rows, norm):
    """Batch normalisation in training, by PyTorch."""
    flat = rows.reshape(-1, rows.shape[-1])
    found = F.batch_norm(flat, None, None, norm.scale, norm.shift, training=True, eps=EPSILON)
    return found.view_as(rows)


def as_published(embedding, ids):
    """Vectors and the further loss, each token by itself."""
    logits = embedding.logits.view(WORDS, D, K)[ids.flatten()]
    logits = normal(logits, embedding.of_logits)
    soft = logits.softmax(2)
    hard = F.one_hot(logits.argmax(2), K).to(soft.dtype)
    chosen = hard - soft.detach() + soft
    z = torch.stack([chosen[:, j] @ embedding.W[j] for j in range(D)]).mean(0)
    if embedding.H is not None:
        z = normal(z, embedding.inner) @ embedding.H + embedding.bias
    z = normal(z, embedding.norm)
    extra = 0.0
    if embedding.targets is not None:
        extra = 7.0 * (z - embedding.targets[ids.flatten()]).square().mean()
    return z.view(*ids.shape, -1), extra


@every_case
def test_vectors_gradients_and_the_further_loss_are_those_of_the_published_formulas(case):
    found = made(**case)[1].double()
    expected = copy.deepcopy(found)
    ids = torch.tensor([[3, 1, 3, 8], [29, 3, 0, 1]])
    weights = torch.randn(2, 4, DIM).double()
    vectors, extra = found(ids), found.extra_loss()
    assert (extra is None) == ("distil" not in case)
    ((vectors * weights).sum() + (extra or 0.0)).backward()
    published, further = as_published(expected, ids)
    ((published * weights).sum() + further).backward()
    torch.testing.assert_close(vectors, published)
    for name, parameter in expected.named_parameters():
        gradient = found.get_parameter(name).grad.to_dense()
        torch.testing.assert_close(gradient, parameter.grad, msg=name)
    if extra is not None:
        torch.testing.assert_close(extra, further)
        # What has been taken is not added once more.
        assert found.extra_loss() is None and copy.deepcopy(found).extra_loss() is None


def test_logits_move_by_lazy_adam_and_nothing_else_does():
    embedding = made()[1]
    others = {"W": embedding.W.detach().clone(), "H": embedding.H.detach().clone()}
    table = torch.nn.Parameter(embedding.logits.detach().clone())
    lazy = torch.optim.SparseAdam([table], lr=0.5 * 0.01)
    norm = copy.deepcopy(embedding.of_logits)
    adam = torch.optim.Adam(norm.parameters(), lr=0.5 * 0.01)
    for step in range(4):
        ids = torch.randint(WORDS, (7,), generator=torch.Generator().manual_seed(step))
        (embedding(ids) * torch.randn(7, DIM)).sum().backward()
        table.grad = embedding.logits.grad.clone()
        for mine, theirs in zip(norm.parameters(), embedding.of_logits.parameters(), strict=True):
            mine.grad = theirs.grad.clone()
        embedding.own_step(0.5)
        lazy.step()
        adam.step()
        assert embedding.logits.grad is None and embedding.of_logits.scale.grad is None
        assert embedding.W.grad is not None
        embedding.zero_grad()
        torch.testing.assert_close(embedding.logits, table)
        torch.testing.assert_close(embedding.of_logits.scale, norm.scale, rtol=1e-4, atol=1e-6)
    for name, before in others.items():
        assert torch.equal(embedding.get_parameter(name), before)


def test_training_moves_logits_by_their_own_step_and_the_rest_clipped():
    settings = LanguageModelSettings(
        hidden=DIM, init_scale=0.1, dropout=0.0, batch_size=2, bptt=3, full_rate_epochs=1,
        decay=0.5, epochs=1, max_grad_norm=1e-6,
    )  # fmt: skip
    model = LanguageModel(made()[1], WORDS, settings)
    before = copy.deepcopy(model)
    ids = torch.tensor([[1, 2], [3, 1], [4, 4]])
    training_step(model, ids, ids, model.initial_state(2), rate=1.0, max_grad_norm=1e-6)
    moved = (model.embedding.logits - before.embedding.logits).abs().amax(1)
    # Adam's first step is as long as its rate.
    torch.testing.assert_close(moved[1:5], torch.full((4,), 0.01), rtol=0.01, atol=0.0)
    assert not moved[5:].any() and not moved[0]
    assert (model.embedding.W - before.embedding.W).norm() < 2e-6


def test_a_stored_state_goes_on_with_adams_moments():
    first = made()[1]

    def step(embedding, seed):
        generator = torch.Generator().manual_seed(seed)
        ids = torch.randint(WORDS, (9,), generator=generator)
        (embedding(ids) * torch.randn(9, DIM, generator=generator)).sum().backward()
        embedding.own_step(1.0)
        embedding.zero_grad()

    for seed in (1, 2):
        step(first, seed)
    second = made(seed=5)[1]
    second.load_state_dict(first.state_dict())
    step(first, 3)
    step(second, 3)
    assert torch.equal(first.logits, second.logits)


@every_case
def test_eval_mode_and_the_exported_file_compose_from_running_statistics(case, tmp_path):
    settings, embedding = made(**case)
    for _ in range(300):
        embedding(torch.randint(WORDS, (20,)))
    embedding.eval()

    def fixed(rows, norm):
        return (rows - norm.mean) / (norm.variance + EPSILON).sqrt() * norm.scale + norm.shift

    indices = fixed(embedding.logits.view(WORDS, D, K), embedding.of_logits).argmax(2)
    assert torch.equal(embedding.codes().tensor(), indices)
    z = embedding.W[torch.arange(D), indices].mean(1)
    if embedding.H is not None:
        z = fixed(z, embedding.inner) @ embedding.H + embedding.bias
    z = fixed(z, embedding.norm)
    ids = torch.arange(WORDS)
    torch.testing.assert_close(embedding(ids), z, rtol=1e-4, atol=1e-5)
    save_embedding(tmp_path / "joint.safetensors", embedding, settings)
    loaded = load_embedding(tmp_path / "joint.safetensors")
    torch.testing.assert_close(loaded(ids), z, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("code_dim", [30, None])
def test_bits_are_those_of_codes_code_embeddings_h_and_an_offset(code_dim):
    embedding = made(1001, 20, K=12, D=7, code_dim=code_dim)[1]
    codes = 8 * math.ceil(1001 * 7 * 4 / 8)
    numbers = 7 * 12 * (code_dim or 20) + (30 * 20 if code_dim else 0) + 20
    assert embedding.size().bits == codes + 32 * numbers


def test_rounded_it_moves_its_logits_too():
    inner = {"kind": "icml2018", "K": K, "D": D}
    chosen = EMBEDDINGS.parse({"kind": "rounded", "bits": 4, "of": inner})
    rounded = chosen.module.build(chosen, WORDS, DIM, EmbeddingInputs())
    before = rounded.inner.logits.detach().clone()
    (rounded(torch.tensor([1, 2, 3])) * torch.randn(3, DIM)).sum().backward()
    rounded.own_step(1.0)
    assert not torch.equal(rounded.inner.logits, before) and rounded.inner.logits.grad is None
