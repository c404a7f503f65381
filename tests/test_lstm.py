import pytest
import torch
from torch import nn

from kdlab.buffers import Buffers
from kdlab.lstm import dropped, lstm

STEPS, BATCH, INPUTS, HIDDEN = 7, 5, 30, 40


@pytest.fixture(autouse=True)
def written_out(monkeypatch):
    """Whatever the size and the processor."""
    monkeypatch.setattr("kdlab.lstm.SMALL", 0)
    monkeypatch.setattr("kdcore.products._library", "pytorch")


@pytest.fixture
def layers() -> nn.LSTM:
    return nn.LSTM(INPUTS, HIDDEN, 2)


def results(layers: nn.LSTM, call, dtype=torch.float32) -> list[torch.Tensor]:
    """Outputs, state and gradients of a layer, on inputs that are the same at each call."""
    generator = torch.Generator().manual_seed(3)
    x, h, c, weight = (
        torch.randn(shape, generator=generator).to(dtype)
        for shape in ((STEPS, BATCH, INPUTS), *2 * [(2, BATCH, HIDDEN)], (STEPS, BATCH, HIDDEN))
    )
    x.requires_grad_()
    outputs, state = call(x, (h, c))
    (outputs * weight).sum().backward()
    found = [outputs, *state, x.grad]
    found += [p.grad for n, p in layers.named_parameters() if "bias_hh" not in n]
    found = [t.detach().clone() for t in found]
    layers.zero_grad()
    return found


def test_products_in_float32_give_torchs_lstm(layers):
    buffers = Buffers()
    expected = results(layers, layers)
    for _ in range(2):  # the second time in memory that was used
        found = results(layers, lambda x, s: lstm(layers, x, s, torch.float32, buffers))
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_products_in_bfloat16_are_near_double_precision(layers):
    buffers = Buffers()
    found = results(layers, lambda x, s: lstm(layers, x, s, torch.bfloat16, buffers))
    expected = results(layers.double(), layers, torch.float64)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == torch.float32
        # A bfloat16 number has 8 bits: each is within 2⁻⁹ of what it stands for.
        assert 0 < (a - b).norm() < 4 * 2**-9 * b.norm()


def test_gradients_add_up_over_calls(layers):
    buffers = Buffers()
    x, state = torch.randn(STEPS, BATCH, INPUTS), 2 * (torch.randn(2, BATCH, HIDDEN),)
    for dtype in (torch.float32, torch.bfloat16):
        for calls in (1, 2):
            layers.zero_grad()
            for _ in range(calls):
                lstm(layers, x, state, dtype, buffers)[0].sum().backward()
            grads = [p.grad.clone() for p in layers.parameters() if p.grad is not None]
            if calls == 1:
                once = grads
        for a, b in zip(once, grads, strict=True):
            torch.testing.assert_close(2 * a, b)


def test_a_gradient_after_another_call_is_refused(layers):
    """What the first call kept is written over: a wrong gradient would be silent."""
    buffers = Buffers()
    x, state = torch.randn(STEPS, BATCH, INPUTS), 2 * (torch.randn(2, BATCH, HIDDEN),)
    first, _ = lstm(layers, x, state, torch.float32, buffers)
    lstm(layers, x, state, torch.float32, buffers)
    with pytest.raises(RuntimeError, match="modified"):
        first.sum().backward()


def test_dropout_between_layers_is_torchs_in_float32():
    layers = nn.LSTM(INPUTS, HIDDEN, 3, dropout=0.4)
    x, state = torch.randn(STEPS, BATCH, INPUTS), 2 * (torch.randn(3, BATCH, HIDDEN),)
    torch.manual_seed(5)
    expected, _ = layers(x, state)
    torch.manual_seed(5)
    found, _ = lstm(layers, x, state, torch.float32, Buffers())
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.65])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_drops_its_share_and_keeps_the_mean(share, dtype):
    x = torch.ones(401, 1003, requires_grad=True)
    found = dropped(x, share, dtype)
    dropped_share = float((found == 0).float().mean())
    assert dropped_share == pytest.approx(share, abs=0.005)
    assert float(found.detach().mean()) == pytest.approx(1, abs=0.02)
    kept = found.detach()[found.detach() != 0]
    assert torch.all(kept == kept[0]) and float(kept[0]) == pytest.approx(1 / (1 - share), rel=1e-4)
    found.sum().backward()
    assert torch.equal(x.grad, found.detach())
    # Neighbours in a row, in a column and four apart are dropped independently.
    zeros = (found.detach() == 0).float() - share
    for a, b in ((zeros[:, 1:], zeros[:, :-1]), (zeros[1:], zeros[:-1]),
                 (zeros[:, 4:], zeros[:, :-4])):  # fmt: skip
        assert abs(float((a * b).mean())) < 0.003


@pytest.mark.parametrize(("small", "library"), [(HIDDEN + 1, "pytorch"), (0, "onednn")])
def test_in_float32_torchs_layer_is_used_where_it_is_faster(layers, monkeypatch, small, library):
    monkeypatch.setattr("kdlab.lstm.SMALL", small)
    monkeypatch.setattr("kdcore.products._library", library)
    expected = results(layers, layers)
    buffers = Buffers()
    found = results(layers, lambda x, s: lstm(layers, x, s, torch.float32, buffers))
    assert all(map(torch.equal, found, expected))
