import time

import pytest
import torch

from kdcore import KDError, products
from kdcore.products import (
    Packed,
    denormals_are_zero,
    linear,
    product_library,
    transposed,
    use_product_library,
    weight_gradient,
)


def product() -> float:
    return float(torch.tensor(1e-30) * torch.tensor(1e-10))


def test_denormal_numbers_are_zero_inside_and_as_before_outside():
    assert product() > 0
    with denormals_are_zero():
        assert product() == 0
        with denormals_are_zero():
            assert product() == 0
        assert product() == 0
    assert product() > 0


def test_an_lstm_that_forgets_at_once_learns_the_same_to_the_last_bit():
    def trained() -> list[torch.Tensor]:
        torch.manual_seed(1)
        lstm = torch.nn.LSTM(8, 8)
        with torch.no_grad():
            lstm.weight_hh_l0.mul_(1e-3)
            lstm.bias_ih_l0[8:16] = -6.0
        inputs, target = torch.randn(30, 4, 8, requires_grad=True), torch.randn(4, 8)
        for _ in range(5):
            (lstm(inputs)[0][-1] - target).square().sum().backward()
            smallest.append(inputs.grad[inputs.grad != 0].abs().min())
            inputs.grad = None
            for p in lstm.parameters():
                p.data.sub_(p.grad, alpha=0.1)
                p.grad = None
        return [p.detach().clone() for p in lstm.parameters()]

    smallest = []
    kept = trained()
    assert max(smallest) < 1.1e-38
    with denormals_are_zero():
        flushed = trained()
    assert all(map(torch.equal, kept, flushed))


def test_the_product_by_name_is_the_product():
    x, weight, bias = torch.randn(5, 3), torch.randn(7, 3), torch.randn(7)
    torch.testing.assert_close(linear(x, weight, bias), x @ weight.t() + bias)
    torch.testing.assert_close(linear(x.double(), weight.double()), (x @ weight.t()).double())


def test_the_library_is_measured_once_and_can_be_said(monkeypatch):
    monkeypatch.setattr(products, "_library", None)
    measured = product_library()
    assert measured in ("onednn", "pytorch")
    monkeypatch.setattr(products, "_measured", None)
    assert product_library() == measured
    use_product_library("pytorch")
    assert product_library() == "pytorch"
    with pytest.raises(KDError, match="must be 'onednn' or 'pytorch', got 'mkl'"):
        use_product_library("mkl")
    monkeypatch.setattr(products, "_onednn_linear", None)
    with pytest.raises(KDError, match="must be 'pytorch' here, got 'onednn'"):
        use_product_library("onednn")


@pytest.mark.parametrize(
    ("intels", "onednn", "pytorch", "chosen"),
    [
        # Milliseconds of the processor. On one machine their ratio varies by a half.
        (True, 2, 3, "pytorch"), (True, 2, 2, "pytorch"), (True, 2, 5, "onednn"),
        (False, 2, 3, "onednn"), (False, 3, 2, "onednn"), (False, 5, 2, "pytorch"),
    ],
)  # fmt: skip
def test_the_processors_maker_chooses_the_library_unless_the_other_is_far_faster(
    monkeypatch, intels, onednn, pytorch, chosen
):
    clock = [0.0]

    def product(x, weight, bias, library):
        time.sleep(0.001 if library == "onednn" else 0)  # to wait takes no time of the processor
        clock[0] += {"onednn": onednn, "pytorch": pytorch}[library] / 1000

    monkeypatch.setattr(products.time, "process_time", lambda: clock[0])
    monkeypatch.setattr(products, "_is_made_by_intel", lambda: intels)
    monkeypatch.setattr(products, "_onednn_linear", torch.relu)
    monkeypatch.setattr(products, "_linear", product)
    monkeypatch.setattr(products, "_library", None)
    assert product_library() == chosen


@pytest.mark.parametrize("library", ["onednn", "pytorch"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_packed_weight_multiplies_as_it_is(library, dtype, monkeypatch):
    monkeypatch.setattr(products, "_library", library)
    x, weight, added = (torch.randn(s).to(dtype) for s in ((4, 33), (70, 33), (4, 70)))
    expected = x.float() @ weight.float().t()
    near = 1e-1 if dtype == torch.bfloat16 else 1e-5
    for factor in (weight, weight.t().contiguous().t()):
        packed = Packed(factor, 4)
        for other in (added, added.float()):
            out = torch.empty(4, 70)
            assert packed(x, other, out) is out
            torch.testing.assert_close(out, expected + added, rtol=near, atol=near)


@pytest.mark.parametrize("library", ["onednn", "pytorch"])
def test_a_weights_gradient_is_a_product(library, monkeypatch):
    monkeypatch.setattr(products, "_library", library)
    errors, x, out = torch.randn(30, 7), torch.randn(30, 5), torch.empty(7, 5)
    assert weight_gradient(errors, x, out) is out
    torch.testing.assert_close(out, errors.t() @ x)
    torch.testing.assert_close(linear(errors.t(), x.t(), out=out), errors.t() @ x)
    bias = torch.randn(5)
    torch.testing.assert_close(linear(errors.t(), x.t(), bias, out), errors.t() @ x + bias)


def test_transposed_in_blocks():
    x = torch.randn(150, 70)
    out = torch.empty(70, 150)
    assert transposed(x, out) is out
    assert torch.equal(out, x.t())
