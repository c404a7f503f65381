import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from kdcore import KDError
from kdcore.products import linear
from kdlab.language_model import LanguageModel, perplexity
from kdlab.language_model_settings import LanguageModelSettings
from kdlab.softmax import cross_entropy_sum


@pytest.fixture
def model(corpus, settings):
    return LanguageModel(nn.Embedding(len(corpus.words), 12), len(corpus.words), settings)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cross_entropy_and_its_gradients_are_torchs(dtype):
    h = torch.randn(30, 8, dtype=dtype, requires_grad=True)
    weight = torch.randn(50, 8, dtype=dtype, requires_grad=True)
    bias = torch.randn(50, dtype=dtype, requires_grad=True)
    targets = torch.randint(50, (30,))
    loss = cross_entropy_sum(h, weight, bias, targets)
    (0.3 * loss).backward()
    found = [p.grad.clone() for p in (h, weight, bias)]
    for p in (h, weight, bias):
        p.grad = None
    expected = F.cross_entropy(F.linear(h, weight, bias), targets, reduction="sum")
    (0.3 * expected).backward()
    torch.testing.assert_close(loss.to(dtype), expected, rtol=1e-5, atol=1e-5)
    for a, p in zip(found, (h, weight, bias), strict=True):
        torch.testing.assert_close(a, p.grad, rtol=1e-4, atol=1e-5)


def test_cross_entropy_of_a_hopeless_target_is_finite():
    h = torch.tensor([[1000.0]])
    weight = torch.tensor([[1.0], [-1.0]])
    loss = cross_entropy_sum(h, weight, torch.zeros(2), torch.tensor([1]))
    assert float(loss) == 2000.0


def test_linear_takes_transposed_factors():
    a, b = torch.randn(6, 9), torch.randn(6, 7)
    torch.testing.assert_close(linear(a.t(), b.t()), a.t() @ b)


def test_perplexity_scores_every_token_in_one_pass_with_carried_state(model, corpus):
    stream = corpus.test[:60]
    model.eval()
    context = torch.cat([torch.tensor([0]), stream[:-1]])
    with torch.no_grad():
        outputs, _ = model(context[:, None], model.initial_state(1))
        logits = outputs[:, 0] @ model.weight.t() + model.bias
        expected = math.exp(float(F.cross_entropy(logits, stream)))
    model.train()
    for chunk in (7, 60, 1000):
        assert perplexity(model, stream, 0, chunk) == pytest.approx(expected, rel=1e-5)
    assert model.training


@pytest.mark.parametrize("streams", [2, 3, 7])
def test_streams_side_by_side_are_parts_read_alone(model, corpus, streams):
    stream = corpus.test[:60]
    length = -(-60 // streams)
    total = 0.0
    for first in range(0, 60, length):
        part = stream[first : first + length]
        before = int(stream[first - 1]) if first else 0
        total += len(part) * math.log(perplexity(model, part, before))
    for chunk in (7, 1000):
        found = perplexity(model, stream, 0, chunk, streams)
        assert found == pytest.approx(math.exp(total / 60), rel=1e-5)


def test_an_empty_stream_has_no_perplexity(model, corpus):
    with pytest.raises(KDError, match="empty stream"):
        perplexity(model, corpus.test[:0], 0)


def test_an_embedding_of_another_size_is_refused(corpus, settings):
    with pytest.raises(KDError, match="size 13, hidden is 12"):
        LanguageModel(nn.Embedding(len(corpus.words), 13), len(corpus.words), settings)


def test_a_uniform_model_has_the_vocabularys_perplexity(model, corpus):
    nn.init.zeros_(model.weight)
    assert perplexity(model, corpus.test, 0) == pytest.approx(len(corpus.words), rel=1e-5)


def test_loss_is_the_sum_over_time_of_the_mean_over_the_batch(model, corpus):
    model.eval()
    ids = corpus.train[:20].view(5, 4)
    targets = corpus.train[1:21].view(5, 4)
    loss, _ = model.loss(ids, targets, model.initial_state(4))
    outputs, _ = model(ids, model.initial_state(4))
    logits = outputs @ model.weight.t() + model.bias
    expected = F.cross_entropy(logits.flatten(0, 1), targets.flatten()) * 5
    torch.testing.assert_close(loss.float(), expected)


def test_one_bias_per_gate_that_starts_at_zero(model):
    biases = {n: p for n, p in model.lstm.named_parameters() if "bias" in n}
    assert not any(p.any() for p in biases.values())
    assert [n for n, p in biases.items() if not p.requires_grad] == ["bias_hh_l0", "bias_hh_l1"]


def test_size_of_the_papers_small_model():
    settings = LanguageModelSettings(
        hidden=200, init_scale=0.1, dropout=0.0, bptt=20, full_rate_epochs=4, decay=0.5,
        epochs=13, max_grad_norm=5.0,
    )  # fmt: skip
    with torch.device("meta"):
        model = LanguageModel(nn.Embedding(10_000, 200), 10_000, settings)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    # Embedding, two layers of 4·200·(200 + 200) weights and 800 biases, softmax.
    assert trained == 2_000_000 + 2 * (320_000 + 800) + 2_010_000


def test_weights_start_uniform(corpus, settings):
    model = LanguageModel(nn.Embedding(len(corpus.words), 12), len(corpus.words), settings)
    for weight in (model.weight, model.lstm.weight_hh_l0, model.lstm.weight_ih_l1):
        assert 0.09 < float(weight.detach().abs().max()) <= 0.1
        assert abs(float(weight.detach().std()) - 0.1 / math.sqrt(3)) < 0.01


def test_dropout_is_where_zaremba_puts_it(corpus, settings):
    model = LanguageModel(nn.Embedding(len(corpus.words), 12), len(corpus.words), settings)
    assert model.dropout.p == model.lstm.dropout == pytest.approx(0.2)
    ids = corpus.train[:20].view(5, 4)
    first, _ = model(ids, model.initial_state(4))
    assert 0 < int((first == 0).sum()) < first.numel()
    model.eval()
    assert torch.equal(model(ids, model.initial_state(4))[0], model(ids, model.initial_state(4))[0])


def test_dropout_of_words_leaves_out_whole_words_at_the_input(corpus, settings, monkeypatch):
    settings = settings.model_copy(update={"dropout": 0.0, "word_dropout": 0.25})
    model = LanguageModel(nn.Embedding(len(corpus.words), 12), len(corpus.words), settings)
    read = []
    monkeypatch.setattr(
        "kdlab.language_model.lstm",
        lambda layers, x, state, *rest: (read.append(x.detach()), layers(x, state))[1],
    )
    ids = torch.tensor([[3, 3, 7], [7, 3, 0]])
    torch.manual_seed(0)
    for _ in range(600):
        model(ids, model.initial_state(3))
    kept = 0.75 * torch.stack(read) / model.embedding.weight[ids].detach()
    torch.testing.assert_close(kept.round(), kept, atol=1e-4, rtol=0)
    whole = kept.round()[..., 0]
    assert torch.equal(kept.round(), whole[..., None].expand_as(kept))
    # One choice for all places of a word in a batch, another for each word and batch.
    assert torch.equal(whole[:, 0, 0], whole[:, 0, 1])
    assert torch.equal(whole[:, 0, 2], whole[:, 1, 0])
    assert abs(torch.corrcoef(torch.stack([whole[:, 0, 0], whole[:, 0, 2]]))[0, 1]) < 0.15
    torch.testing.assert_close(whole.mean(0), torch.full((2, 3), 0.75), atol=0.06, rtol=0)
    read.clear()
    model.lstm.register_forward_pre_hook(lambda module, inputs: read.append(inputs[0].detach()))
    model.eval()(ids, model.initial_state(3))
    assert torch.equal(read[0], model.embedding.weight[ids])


def test_rate_by_epoch():
    settings = LanguageModelSettings(
        hidden=2, init_scale=0.1, dropout=0.0, bptt=2, full_rate_epochs=4, decay=0.5, epochs=13,
        max_grad_norm=5.0,
    )  # fmt: skip
    assert [settings.rate(e) for e in (1, 4, 5, 6, 13)] == [1, 1, 0.5, 0.25, 2**-9]
