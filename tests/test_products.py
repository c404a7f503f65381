import torch

from kdcore.products import denormals_are_zero, linear


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
