import math
from dataclasses import asdict

import pytest
import torch
from torch import nn

from kdcore import Codes, KDEmbedding, KDError
from kdcore.products import product_library
from kdcore.tensors import load_tensors, save_tensors
from kdlab import training
from kdlab.corpus import batches
from kdlab.language_model import LanguageModel, perplexity
from kdlab.training import clipped_sgd_step, resolve_device, train, training_step


@pytest.fixture(autouse=True)
def any_processor(monkeypatch):
    """bfloat16 works on every processor, and is refused where it would be slow."""
    monkeypatch.setattr(training, "has_bfloat16", lambda device: True)


def make(corpus, settings, kd: bool = False, dropout: float = 0.0) -> LanguageModel:
    torch.manual_seed(7)
    words = len(corpus.words)
    if kd:
        embedding = KDEmbedding(
            Codes.random(words, 4, 3, seed=0), 12, "lstm", init_scale=1.0, normalise=True,
            dropout=dropout,
        )  # fmt: skip
    else:
        embedding = nn.Embedding(words, 12)
    return LanguageModel(embedding, words, settings)


def test_batches_are_parallel_streams_without_the_tail():
    rows = batches(torch.arange(23), 4)
    assert rows.tolist() == [[i, 5 + i, 10 + i, 15 + i] for i in range(5)]
    with pytest.raises(KDError, match="batch_size must leave two rows of 7 tokens, got 4"):
        batches(torch.arange(7), 4)


@pytest.mark.parametrize("size", [0.01, 100.0])
def test_step_is_torchs_clipping_and_sgd(size):
    ours = [nn.Parameter(torch.randn(5, 3)), nn.Parameter(torch.randn(4))]
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    for a, b in zip(ours, theirs, strict=True):
        a.grad = size * torch.randn_like(a)
        b.grad = a.grad.clone()
    clipped_sgd_step(ours, 0.3, 5.0)
    nn.utils.clip_grad_norm_(theirs, 5.0)
    torch.optim.SGD(theirs, lr=0.3).step()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)
        assert a.grad is None


def test_training_is_the_plain_loop(corpus, settings, tmp_path):
    """Against a loop written out with torch's own loss, clipping and optimizer."""
    settings = settings.model_copy(update={"dropout": 0.0, "epochs": 2})
    model, plain = make(corpus, settings), make(corpus, settings)
    records = train(model, corpus, settings, checkpoint=tmp_path / "c", identity="a")
    data = batches(corpus.train, 4)
    for epoch in (1, 2):
        optimizer = torch.optim.SGD(
            [p for p in plain.parameters() if p.requires_grad], lr=settings.rate(epoch)
        )
        state, losses = plain.initial_state(4), []
        for start in range(0, (len(data) - 1) // 5 * 5, 5):
            outputs, state = plain(data[start : start + 5], state)
            logits = outputs @ plain.weight.t() + plain.bias
            loss = 5 * nn.functional.cross_entropy(
                logits.flatten(0, 1), data[start + 1 : start + 6].flatten()
            )
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(plain.parameters(), settings.max_grad_norm)
            optimizer.step()
            state = tuple(s.detach() for s in state)
            losses.append(loss.item() / 5)
        mean = sum(losses) / len(losses)
        assert records[epoch - 1].train_ppl == pytest.approx(math.exp(mean), rel=1e-4)
    for (name, a), b in zip(model.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4, msg=name)


def same(whole: LanguageModel, expected: list, cut: LanguageModel, records: list) -> None:
    for (name, a), b in zip(whole.state_dict().items(), cut.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    for a, b in zip(expected, records, strict=True):
        assert asdict(a) | {"seconds": 0} == asdict(b) | {"seconds": 0}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kd", [False, True])
def test_a_run_cut_anywhere_ends_with_the_same_bytes(
    corpus, settings, tmp_path, monkeypatch, kd, precision
):
    settings = settings.model_copy(update={"word_dropout": 0.2})
    whole = make(corpus, settings, kd, 0.2)
    expected = train(
        whole, corpus, settings, checkpoint=tmp_path / "whole", identity="a", precision=precision
    )

    # Every look at the clock is a second later, so that `stop` is asked at every step.
    clock = iter(range(10**9))
    monkeypatch.setattr("kdlab.training.time.monotonic", lambda: float(next(clock)))
    asked = iter(range(10**9))
    path = tmp_path / "cut"
    for _ in range(1000):
        cut = make(corpus, settings, kd, 0.2)
        torch.manual_seed(99)  # what the checkpoint restores must not depend on this
        if not path.exists():
            torch.manual_seed(7)
            cut = make(corpus, settings, kd, 0.2)
        records = train(
            cut, corpus, settings, checkpoint=path, identity="a", precision=precision,
            stop=lambda: next(asked) % 7 == 6,
        )  # fmt: skip
        if records is not None:
            break
    assert next(asked) > 30, "never stopped"
    same(whole, expected, cut, records)


class Killed(Exception):
    pass


@pytest.mark.parametrize(("checkpoint_seconds", "reports", "at"), [(29.0, 41, 29), (63.0, 100, 0)])
def test_a_run_killed_between_checkpoints_ends_with_the_same_bytes(
    corpus, settings, tmp_path, monkeypatch, checkpoint_seconds, reports, at
):
    """Killed after as many reports, with checkpoints in the middle or at the end of an epoch."""
    whole = make(corpus, settings)
    expected = train(whole, corpus, settings, checkpoint=tmp_path / "whole", identity="a")
    clock, told, positions = iter(range(10**9)), iter(range(10**9)), set()
    monkeypatch.setattr("kdlab.training.time.monotonic", lambda: float(next(clock)))

    def report(_):
        if next(told) % reports == reports - 1:
            raise Killed

    for _ in range(1000):
        torch.manual_seed(7)
        cut = make(corpus, settings)
        try:
            records = train(
                cut, corpus, settings, checkpoint=tmp_path / "cut", identity="a",
                checkpoint_seconds=checkpoint_seconds, report=report,
            )  # fmt: skip
            break
        except Killed:
            positions.add(load_tensors(tmp_path / "cut", "checkpoint")[1]["position"])
    assert at in positions
    same(whole, expected, cut, records)


def test_a_checkpoint_is_written_when_it_is_time_and_at_the_end(
    corpus, settings, tmp_path, monkeypatch
):
    written = []
    monkeypatch.setattr(training, "save_tensors", lambda *a: (written.append(a), save_tensors(*a)))
    monkeypatch.setattr("kdlab.training.time.monotonic", lambda: 0.0)
    for seconds, count in ((1.0, 1), (0.0, settings.epochs)):
        written.clear()
        model = make(corpus, settings)
        train(
            model, corpus, settings, checkpoint=tmp_path / str(count), identity="a",
            checkpoint_seconds=seconds,
        )  # fmt: skip
        assert len(written) == count


def test_training_in_bfloat16_ends_near_float32_with_float32_weights(corpus, settings, tmp_path):
    ends = {}
    for precision in ("float32", "bfloat16"):
        model = make(corpus, settings, kd=True)
        records = train(
            model, corpus, settings, checkpoint=tmp_path / precision, identity="a",
            precision=precision,
        )  # fmt: skip
        assert all(p.dtype == torch.float32 for p in model.parameters())
        ends[precision] = records[-1].valid_ppl
    assert ends["bfloat16"] != ends["float32"]
    assert ends["bfloat16"] == pytest.approx(ends["float32"], rel=0.05)


def test_an_unknown_precision_is_told(corpus, settings, tmp_path):
    with pytest.raises(KDError, match="precision must be 'float32' or 'bfloat16', got 'float16'"):
        train(
            make(corpus, settings), corpus, settings, checkpoint=tmp_path / "c", identity="a",
            precision="float16",
        )  # fmt: skip


def test_bfloat16_is_refused_where_there_is_none(corpus, settings, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "has_bfloat16", lambda device: False)
    model = make(corpus, settings)
    with pytest.raises(KDError, match="must be 'float32' where this processor has no bfloat16"):
        train(
            model, corpus, settings, checkpoint=tmp_path / "c", identity="a", precision="bfloat16"
        )
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_of_another_precision_is_refused(corpus, settings, tmp_path):
    path = tmp_path / "c"
    train(make(corpus, settings), corpus, settings, checkpoint=path, identity="a")
    before = path.read_bytes()
    with pytest.raises(KDError, match="precision must be 'bfloat16', got 'float32'; delete it"):
        train(
            make(corpus, settings), corpus, settings, checkpoint=path, identity="a",
            precision="bfloat16",
        )  # fmt: skip
    assert path.read_bytes() == before


def test_a_run_keeps_its_product_library(corpus, settings, tmp_path, monkeypatch):
    monkeypatch.setattr("kdcore.products._library", "pytorch")
    train(make(corpus, settings), corpus, settings, checkpoint=tmp_path / "c", identity="a")
    monkeypatch.setattr("kdcore.products._library", None)
    monkeypatch.setattr("kdcore.products._measured", lambda: "onednn")
    train(make(corpus, settings), corpus, settings, checkpoint=tmp_path / "c", identity="a")
    assert product_library() == "pytorch"


def test_the_last_epoch_is_scored_as_one_stream(corpus, settings, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        training, "perplexity", lambda *a, streams: (asked.append(streams), perplexity(*a))[1]
    )
    train(
        make(corpus, settings), corpus, settings, checkpoint=tmp_path / "c", identity="a",
        valid_streams=4,
    )  # fmt: skip
    assert asked == [4, 4, 1]


def test_float32_and_bfloat16_models_exchange_weights(corpus, settings):
    data = batches(corpus.train, 4)[:6]
    models = {}
    for precision in ("float32", "bfloat16"):
        models[precision] = make(corpus, settings)
        training_step(
            models[precision], data[:5], data[1:], models[precision].initial_state(4), rate=1.0,
            max_grad_norm=5.0, precision=precision,
        )  # fmt: skip
    names = set(models["float32"].state_dict())
    assert {"lstm.weight_hh_l1", "lstm.bias_hh_l0", "weight", "embedding.weight"} < names
    models["float32"].load_state_dict(models["bfloat16"].state_dict())


@pytest.mark.parametrize("name", ["random.cpu", "state.h", "model.weight"])
def test_a_checkpoint_that_lacks_something_is_told(corpus, settings, tmp_path, name):
    path = tmp_path / "c"
    train(make(corpus, settings), corpus, settings, checkpoint=path, identity="a")
    tensors, header = load_tensors(path, "checkpoint")
    del tensors[name]
    save_tensors(path, tensors, header)
    with pytest.raises(KDError, match="delete it to start over") as caught:
        train(make(corpus, settings), corpus, settings, checkpoint=path, identity="a")
    assert "\n" not in str(caught.value)


def test_a_finished_checkpoint_is_read_and_not_trained_on(corpus, settings, tmp_path):
    path = tmp_path / "c"
    first = make(corpus, settings)
    records = train(first, corpus, settings, checkpoint=path, identity="a")
    again = make(corpus, settings)
    assert train(again, corpus, settings, checkpoint=path, identity="a") == records
    assert torch.equal(first.weight, again.weight)


def test_a_checkpoint_of_other_settings_is_refused(corpus, settings, tmp_path):
    path = tmp_path / "c"
    train(make(corpus, settings), corpus, settings, checkpoint=path, identity="a")
    with pytest.raises(KDError, match="other settings"):
        train(make(corpus, settings), corpus, settings, checkpoint=path, identity="b")
    _, header = load_tensors(path, "checkpoint")
    assert header["identity"] == "a"


def test_a_diverging_loss_is_told(corpus, settings, tmp_path):
    model = make(corpus, settings)
    with torch.no_grad():
        model.weight.fill_(math.nan)
    with pytest.raises(KDError, match="not finite in epoch 1"):
        train(model, corpus, settings, checkpoint=tmp_path / "c", identity="a")


def test_a_corpus_too_short_is_told(corpus, settings, tmp_path):
    settings = settings.model_copy(update={"bptt": 10_000})
    with pytest.raises(KDError, match="too few"):
        train(make(corpus, settings), corpus, settings, checkpoint=tmp_path / "c", identity="a")


def test_a_device_that_is_unknown_or_absent_is_refused():
    assert resolve_device("cpu").type == "cpu"
    with pytest.raises(KDError, match="unknown"):
        resolve_device("gpu9")
    if not torch.cuda.is_available():
        with pytest.raises(KDError, match="no CUDA device"):
            resolve_device("cuda")


@pytest.mark.parametrize("transform", [None, "linear", "lstm"])
def test_a_step_off_the_cpu_reads_nothing_back(corpus, settings, transform):
    """On PyTorch's meta device, which has shapes and no numbers, a read-back cannot work."""
    words = len(corpus.words)
    settings = settings.model_copy(update={"word_dropout": 0.2})
    embedding = nn.Embedding(words, 12)
    if transform:
        codes = Codes.random(words, 4, 3, seed=0)
        embedding = KDEmbedding(
            codes, 12, transform, code_dim=8, normalise=True, gradient_scale=0.5, dropout=0.2
        )
    model = LanguageModel(embedding, words, settings).to("meta")
    data = batches(corpus.train, 4)[:6].to("meta")
    loss, state = training_step(
        model, data[:5], data[1:], model.initial_state(4), rate=1.0, max_grad_norm=5.0
    )
    assert not loss.requires_grad and not state[0].requires_grad
    assert loss.device.type == state[0].device.type == "meta"


@pytest.mark.parametrize("transform", [None, "linear", "lstm"])
def test_a_bfloat16_step_is_close_to_a_float32_step(corpus, settings, transform, monkeypatch):
    """The code path of a GPU with autocast, on the CPU, whatever oneDNN can do there."""
    monkeypatch.setattr("kdcore.products._library", "pytorch")
    monkeypatch.setattr("torch.backends.mkldnn.enabled", False)
    settings = settings.model_copy(update={"dropout": 0.0})
    words = len(corpus.words)
    torch.manual_seed(7)
    embedding = nn.Embedding(words, 12)
    if transform:
        codes = Codes.random(words, 4, 3, seed=0)
        embedding = KDEmbedding(codes, 12, transform, code_dim=8, normalise=True)
    model = LanguageModel(embedding, words, settings)
    data = batches(corpus.train, 4)
    found = {}
    for enabled in (False, True):
        state = model.initial_state(4)
        losses = []
        for start in (0, 5):
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                ids, targets = data[start : start + 5], data[start + 1 : start + 6]
                loss, state = model.loss(ids, targets, state)
            loss.backward()
            losses.append(loss.detach())
            state = tuple(s.detach() for s in state)
        gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        assert all(g.dtype == torch.float32 for g in gradients.values())
        found[enabled] = (sum(losses).item(), gradients)
        model.zero_grad()
    assert found[True][0] == pytest.approx(found[False][0], rel=0.01)
    for name, gradient in found[False][1].items():
        assert gradient.norm() > 0, name
        difference = (found[True][1][name] - gradient).norm()
        assert difference < 0.25 * gradient.norm(), name
