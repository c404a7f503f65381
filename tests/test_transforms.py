import math

import pytest
import torch
import torch.nn.functional as F

from kdcore import TRANSFORMS, Codes, KDError, LinearTransform, LSTMTransform
from kdcore.transforms import _SummedLSTM

VARIANTS = [
    ("linear", {}),
    ("linear", {"code_dim": 5}),
    ("linear", {"code_dim": 5, "normalise": True}),
    ("lstm", {"cell": "counted"}),
    ("lstm", {"cell": "printed", "code_dim": 5}),
    ("lstm", {"cell": "counted", "normalise": True}),
]


@pytest.mark.parametrize(
    ("transform", "dim", "options", "size"),
    [
        ("linear", 200, {}, 100_000),
        ("linear", 1500, {"code_dim": 200}, 400_000),
        # Table 1's sizes, and 4h = 800 biases that it leaves out.
        ("lstm", 200, {"code_dim": 200, "cell": "counted"}, 370_000 + 800),
        ("lstm", 1500, {"code_dim": 200, "cell": "counted"}, 630_000 + 800),
        ("lstm", 200, {"code_dim": 200, "cell": "printed"}, 300_000 + 800),
        ("lstm", 1500, {"code_dim": 200, "cell": "printed"}, 560_000 + 800),
    ],
)
def test_sizes_are_those_of_table_1(transform, dim, options, size):
    made = TRANSFORMS[transform](50, 10, dim, **options)
    assert made.parameter_count() == size


@pytest.mark.parametrize("N", [100, 10_000, 10**9])
@pytest.mark.parametrize("K", [2, 50])
def test_lemma_1(N, K):
    D = math.ceil(math.log(N) / math.log(K))
    # One position more than log N / log K at most; C is what does not depend on N.
    bound = K * 8 * (math.log(N) / math.log(K) + 1)
    assert K**D >= N
    assert LinearTransform(K, D, 8).parameter_count() <= bound
    constant = 4 * 8 * 8 + 4 * 8 + 8 * 8
    printed = LSTMTransform(K, D, 8, cell="printed")
    assert printed.parameter_count() <= bound + constant


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_one_hot_weights_and_symbols_compose_the_same(name, options):
    transform = TRANSFORMS[name](7, 4, 6, **options)
    symbols = torch.randint(7, (9, 4))
    by_symbols = transform(symbols)
    transform.train()
    by_weights = transform.mix(F.one_hot(symbols, 7).float())
    torch.testing.assert_close(by_symbols, by_weights)


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_factors_multiply_code_embedding_vectors(name, options):
    transform = TRANSFORMS[name](8, 4, 6, **options).eval()
    with torch.no_grad():
        transform.W[:, 7] = 0.0
        if name == "lstm":
            transform.bias.uniform_(-1, 1)
    symbols, factors = torch.randint(7, (9, 4)), torch.rand(9, 4)
    # What is left of a code embedding vector, and of one that is zero the rest.
    weights = F.one_hot(symbols, 8) * factors[:, :, None]
    weights[:, :, 7] = 1 - factors
    torch.testing.assert_close(transform(symbols, factors=factors), transform.mix(weights))
    ones = torch.ones(9, 4)
    torch.testing.assert_close(transform(symbols, factors=ones), transform(symbols))


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_rescale_multiplies_the_vectors(name, options):
    transform = TRANSFORMS[name](7, 4, 6, **options).eval()
    symbols = torch.randint(7, (9, 4))
    before = transform(symbols)
    transform.rescale(2.5)
    torch.testing.assert_close(transform(symbols), 2.5 * before)


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_a_table_in_pieces_is_what_eval_mode_composes(name, options):
    made = TRANSFORMS[name](4, 3, 7, **options)
    made(torch.randint(4, (50, 3)))  # statistics to use
    symbols = torch.randint(4, (23, 3))
    table = made.table(symbols, piece=5)
    assert made.training and not table.requires_grad
    torch.testing.assert_close(table, made.eval()(symbols))


def test_linear_is_the_sum_of_the_chosen_rows():
    transform = LinearTransform(5, 3, 4, code_dim=2)
    symbols = torch.randint(5, (6, 3))
    expected = sum(transform.W[j][symbols[:, j]] for j in range(3)) @ transform.H
    torch.testing.assert_close(transform(symbols), expected)
    assert LinearTransform(5, 3, 4).H is None


def test_counted_lstm_is_torchs_lstm():
    transform = LSTMTransform(5, 3, 4, code_dim=6, cell="counted")
    torch.nn.init.uniform_(transform.bias, -1, 1)
    reference = torch.nn.LSTM(6, 6)
    i, f, o, m = range(4)
    order = [i, f, m, o]  # torch's order of gates

    def reordered(weight):
        return torch.cat([weight.chunk(4)[gate] for gate in order])

    with torch.no_grad():
        reference.weight_ih_l0.copy_(reordered(transform.input))
        reference.weight_hh_l0.copy_(reordered(transform.U))
        reference.bias_ih_l0.copy_(reordered(transform.bias))
        reference.bias_hh_l0.zero_()
    symbols = torch.randint(5, (8, 3))
    outputs, _ = reference(transform.W[0][symbols].transpose(0, 1))
    torch.testing.assert_close(transform(symbols), outputs.sum(0) @ transform.H)


def test_printed_lstm_is_section_2_2_written_out():
    transform = LSTMTransform(5, 3, 4, code_dim=6, cell="printed")
    torch.nn.init.uniform_(transform.bias, -1, 1)
    symbols = torch.randint(5, (8, 3))
    U_i, U_f, U_o, U_m = transform.U.chunk(4)
    b_i, b_f, b_o, b_m = transform.bias.chunk(4)
    h = m = torch.zeros(8, 6)
    total = torch.zeros(8, 6)
    for j in range(3):
        w = transform.W[j][symbols[:, j]]
        f = torch.sigmoid(w + h @ U_f.t() + b_f)
        i = torch.sigmoid(w + h @ U_i.t() + b_i)
        o = torch.sigmoid(w + h @ U_o.t() + b_o)
        m = f * m + i * torch.tanh(w + h @ U_m.t() + b_m)
        h = o * torch.tanh(m)
        total = total + h
    torch.testing.assert_close(transform(symbols), total @ transform.H)


@pytest.mark.parametrize("D", [1, 2, 4])
def test_the_lstms_hand_written_derivative(D):
    inputs = torch.randn(D, 3, 20, dtype=torch.double, requires_grad=True)
    U = torch.randn(20, 5, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(_SummedLSTM.apply, (inputs, U))


@pytest.mark.parametrize("name", ["linear", "lstm"])
def test_normalised_vectors_start_with_unit_variance_whatever_the_codes_scale(name):
    for init_scale in (0.5, 2.0):
        transform = TRANSFORMS[name](50, 10, 64, code_dim=32, init_scale=init_scale, normalise=True)
        vectors = transform(Codes.random(2000, 50, 10, seed=0).tensor()).detach()
        assert abs(float(vectors.std()) - 1) < 0.15
        assert float(vectors.mean(0).abs().max()) < 1e-4


@pytest.mark.parametrize("name", ["linear", "lstm"])
def test_a_single_symbol_can_be_composed_in_training(name):
    transform = TRANSFORMS[name](5, 3, 4, code_dim=6, normalise=True)
    assert torch.isfinite(transform(torch.zeros(1, 3, dtype=torch.long))).all()


def test_an_unknown_cell_is_refused():
    with pytest.raises(KDError, match="cell 'Printed' is unknown; there are: printed, counted"):
        LSTMTransform(4, 2, 3, cell="Printed")


def test_impossible_shapes_are_refused():
    for K, D in ((1, 3), (5, 0)):
        with pytest.raises(KDError):
            LinearTransform(K, D, 4)
