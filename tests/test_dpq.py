"""DPQ against the published formulas, written out group by group."""

import copy
import math

import pytest
import torch

from kdcore.embeddings import EMBEDDINGS, EmbeddingInputs
from kdcore.embeddings.dpq import EPSILON, MOMENTUM
from kdlab.language_model import LanguageModel
from kdlab.language_model_settings import LanguageModelSettings
from kdlab.training import training_step

WORDS, DIM, K, D = 30, 12, 5, 4
CASES = [("sx", True), ("sx", False), ("vq", True), ("vq", False)]
every_case = pytest.mark.parametrize(("variant", "shared"), CASES)


def dpq(variant="sx", shared=True, words=WORDS, dim=DIM, K=K, D=D, seed=0):
    settings = EMBEDDINGS.parse(
        {"kind": "dpq", "K": K, "D": D, "variant": variant, "shared": shared}
    )
    torch.manual_seed(seed)
    # Large enough that ε is not all there is to a variance.
    return settings, settings.module.build(settings, words, dim, EmbeddingInputs(init_scale=1.0))


def as_published(embedding, ids, shared):
    """Vectors, indices, statistics and the further loss, of one token and group after another."""
    A, V, m = embedding.keys, embedding.values, DIM // D
    q = [[embedding.queries[i, j * m : (j + 1) * m] for j in range(D)] for i in ids.flatten()]
    book = [0] * D if shared else range(D)
    responses = torch.stack([
        torch.stack([
            part @ key if V is not None else -(part - key).square().sum() for key in A[book[j]]
        ])
        for token in q for j, part in enumerate(token)
    ])  # fmt: skip
    mean, variance = responses.mean(0), responses.var(0, correction=0)
    standard = (responses - mean) / (variance + EPSILON).sqrt()
    p, indices = standard.softmax(1), standard.argmax(1)
    vectors, distances = [], []
    for row, (c, soft) in enumerate(zip(indices.tolist(), p, strict=True)):
        part, j = q[row // D][row % D], row % D
        if V is not None:
            o = torch.eye(K, dtype=p.dtype)[c]
            vectors.append((soft - (soft - o).detach()) @ V[book[j]])
        else:
            vectors.append((A[book[j], c] - part).detach() + part)
            distances.append((A[book[j], c] - part.detach()).square())
    extra = torch.cat(distances).mean() if distances else torch.zeros(())
    vectors = torch.cat(vectors).view(*ids.shape, DIM)
    return vectors, indices.view(-1, D), mean, variance, extra


@every_case
def test_vectors_gradients_and_the_further_loss_are_those_of_the_published_formulas(
    variant, shared
):
    embedding = dpq(variant, shared)[1].double()
    ids = torch.tensor([[3, 1, 3], [29, 3, 0]])
    weights = torch.randn(2, 3, DIM).double()
    found, expected = copy.deepcopy(embedding), embedding
    vectors = found(ids)
    extra = found.extra_loss()
    assert (extra is None) == (variant == "sx")
    ((vectors * weights).sum() + (0 if extra is None else extra)).backward()
    published, _, mean, variance, distance = as_published(expected, ids, shared)
    ((published * weights).sum() + distance).backward()
    torch.testing.assert_close(vectors, published)
    if extra is not None:
        torch.testing.assert_close(extra, distance)
    for name, parameter in expected.named_parameters():
        torch.testing.assert_close(found.get_parameter(name).grad, parameter.grad)
    tokens = ids.numel() * D
    torch.testing.assert_close(found.mean, MOMENTUM * mean.detach())
    unbiased = variance.detach() * tokens / (tokens - 1)
    torch.testing.assert_close(found.variance, 1 - MOMENTUM + MOMENTUM * unbiased)


@every_case
def test_running_statistics_choose_the_codes_that_are_exported(variant, shared):
    settings, embedding = dpq(variant, shared)
    for _ in range(300):
        embedding(torch.randint(WORDS, (40,)))
    embedding.eval()
    q = embedding.queries.view(WORDS, D, 1, -1)
    keys = embedding.keys.expand(D, -1, -1)
    responses = (q * keys).sum(-1) if variant == "sx" else -(q - keys).square().sum(-1)
    standard = (responses - embedding.mean) / (embedding.variance + EPSILON).sqrt()
    assert torch.equal(embedding.codes().tensor(), standard.argmax(-1))
    # They matter: without them other codes are chosen.
    assert not torch.equal(standard.argmax(-1), responses.argmax(-1))
    loaded = settings.module.load(settings, WORDS, DIM, embedding.export()).eval()
    values = embedding.keys if variant == "vq" else embedding.values
    chosen = values.expand(D, -1, -1)[torch.arange(D), standard.argmax(-1)].flatten(1)
    torch.testing.assert_close(loaded(torch.arange(WORDS)), chosen)
    torch.testing.assert_close(embedding(torch.arange(WORDS)), chosen)


@pytest.mark.parametrize(
    ("variant", "shared", "K", "D", "words", "dim"),
    [
        ("sx", True, 8, 25, 10_000, 200), ("vq", True, 32, 25, 10_000, 200),
        ("sx", False, 6, 10, 1001, 50), ("vq", False, 128, 50, 100, 650),
    ],
)  # fmt: skip
def test_bits_are_those_of_codes_and_values(variant, shared, K, D, words, dim):
    _, embedding = dpq(variant, shared, words, dim, K, D)
    codes = 8 * math.ceil(words * D * math.ceil(math.log2(K)) / 8)
    book = 32 * K * dim // D
    size = embedding.size()
    assert size.bits == codes + book * (1 if shared else D)
    books = K * dim // D * (1 if shared else D) * (2 if variant == "sx" else 1)
    assert size.parameters == words * dim + books


def test_a_single_response_has_no_spread_and_takes_the_running_one():
    _, embedding = dpq(D=1)
    vector = embedding(torch.tensor([4]))
    assert vector.isfinite().all() and torch.equal(embedding.variance, torch.ones(K))
    torch.testing.assert_close(vector, embedding.eval()(torch.tensor([4])))


def test_nothing_is_added_to_the_loss_but_by_vq_in_training():
    _, embedding = dpq("vq")
    assert embedding.extra_loss() is None
    embedding(torch.tensor([1, 2]))
    assert embedding.extra_loss() > 0
    embedding.eval()(torch.tensor([1, 2]))
    assert embedding.extra_loss() is None


def test_rounded_it_adds_the_same():
    settings, embedding = dpq("vq")
    chosen = EMBEDDINGS.parse({"kind": "rounded", "bits": 4, "of": settings.model_dump()})
    torch.manual_seed(0)
    rounded = chosen.module.build(chosen, WORDS, DIM, EmbeddingInputs(init_scale=1.0))
    ids = torch.tensor([1, 2])
    torch.testing.assert_close(rounded(ids), embedding(ids))
    torch.testing.assert_close(rounded.extra_loss(), embedding.extra_loss())
    # With a gradient in eval mode too.
    rounded.eval()(ids).sum().backward()
    assert rounded.inner.queries.grad.sum() > 0


def test_training_adds_the_further_loss_and_does_not_report_it():
    settings = LanguageModelSettings(
        hidden=DIM, init_scale=0.1, dropout=0.0, batch_size=2, bptt=3, full_rate_epochs=1,
        decay=0.5, epochs=1, max_grad_norm=1000.0,
    )  # fmt: skip
    _, embedding = dpq("vq")
    model = LanguageModel(embedding, WORDS, settings)
    ids, targets = torch.randint(WORDS, (2, 3, 2))
    state = model.initial_state(2)
    plain, _ = copy.deepcopy(model).loss(ids, targets, state)
    before = embedding.keys.detach().clone()
    copied = copy.deepcopy(embedding)
    copied(ids)
    (expected,) = torch.autograd.grad(copied.extra_loss(), copied.keys)
    loss, _ = training_step(model, ids, targets, state, rate=0.5, max_grad_norm=1000.0)
    torch.testing.assert_close(loss, plain)
    assert expected.norm() > 0
    # Nothing else moves the keys.
    torch.testing.assert_close(embedding.keys.detach(), before - 0.5 * expected)
