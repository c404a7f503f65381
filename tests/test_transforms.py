import math

import pytest
import torch
import torch.nn.functional as F

from kdcore.codes import Codes
from kdcore.errors import KDError
from kdcore.transforms import TRANSFORMS, Transform
from kdcore.transforms.linear import LinearTransform
from kdcore.transforms.lstm import LSTMTransform, summed_lstm

VARIANTS = [
    ("linear", {}),
    ("linear", {"code_dim": 5}),
    ("linear", {"code_dim": 5, "normalise": True}),
    ("product", {}),
    ("lstm", {"cell": "counted"}),
    ("lstm", {"cell": "printed", "code_dim": 5}),
    ("lstm", {"cell": "counted", "normalise": True}),
]


def make(kind: str, K: int, D: int, dim: int, **options) -> Transform:
    settings = TRANSFORMS.parse({"kind": kind, **options})
    return settings.module.build(settings, K, D, dim)


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
    made = make(transform, 50, 10, dim, **options)
    assert made.parameter_count() == size


@pytest.mark.parametrize("N", [100, 10_000, 10**9])
@pytest.mark.parametrize("K", [2, 50])
def test_size_is_within_the_bound_of_lemma_1(N, K):
    D = math.ceil(math.log(N) / math.log(K))
    # One position more than log N / log K at most; C is what does not depend on N.
    bound = K * 8 * (math.log(N) / math.log(K) + 1)
    assert K**D >= N
    assert LinearTransform(K, D, 8).parameter_count() <= bound
    constant = 4 * 8 * 8 + 4 * 8 + 8 * 8
    printed = LSTMTransform(K, D, 8, cell="printed")
    assert printed.parameter_count() <= bound + constant


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_one_hot_weights_and_indices_compose_equal_vectors(name, options):
    transform = make(name, 7, 4, 6, **options).double()
    indices = torch.randint(7, (9, 4))
    by_indices = transform(indices)
    transform.train()
    by_weights = transform.compose_soft(F.one_hot(indices, 7).double())
    torch.testing.assert_close(by_indices, by_weights)


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_mask_multiplies_code_embedding_vectors(name, options):
    transform = make(name, 8, 4, 6, **options).double().eval()
    with torch.no_grad():
        for books_of, books in transform.named_parameters():
            if books_of.startswith("W"):
                books[:, 7] = 0.0
        if name == "lstm":
            transform.bias.uniform_(-1, 1)
    indices, mask = torch.randint(7, (9, 4)), torch.rand(9, 4, dtype=torch.double)
    # What is left of a code embedding vector, and of one that is zero the rest.
    weights = F.one_hot(indices, 8) * mask[:, :, None]
    weights[:, :, 7] = 1 - mask
    torch.testing.assert_close(transform(indices, mask=mask), transform.compose_soft(weights))
    ones = torch.ones(9, 4)
    torch.testing.assert_close(transform(indices, mask=ones), transform(indices))


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_rescale_multiplies_composed_vectors_as_a_whole_or_by_component(name, options):
    for factor in (2.5, torch.rand(6, dtype=torch.double)):
        transform = make(name, 7, 4, 6, **options).double().eval()
        indices = torch.randint(7, (9, 4))
        before = transform(indices)
        transform.rescale(factor)
        torch.testing.assert_close(transform(indices), factor * before)


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_offset_is_added_to_all_vectors_or_refused(name, options):
    transform = make(name, 7, 4, 6, **options).double().eval()
    indices, offset = torch.randint(7, (9, 4)), torch.randn(6, dtype=torch.double)
    before = transform(indices)
    if transform.can_add_offset:
        transform.add_offset(offset)
        torch.testing.assert_close(transform(indices), before + offset)
    else:
        with pytest.raises(KDError, match="Transform cannot add an offset"):
            transform.add_offset(offset)
        assert torch.equal(transform(indices), before)


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_codebooks_of_mean_zero_and_an_offset_add_up_to_the_vectors_or_are_refused(name, options):
    transform = make(name, 7, 4, 6, **options)
    transform(torch.randint(7, (50, 4)))  # statistics to use
    if not transform.is_sum:
        with pytest.raises(KDError, match="transform must be a sum over positions, got LSTM"):
            transform.codebooks()
        return
    books, offset = transform.codebooks()
    indices = torch.randint(7, (9, 4))
    total = offset + sum(books[j][indices[:, j]] for j in range(4))
    torch.testing.assert_close(transform.double().compose_all(indices), total)
    torch.testing.assert_close(books.mean(1), torch.zeros(4, 6, dtype=torch.double))


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_settings_and_exported_tensors_make_a_transform_that_composes_the_same(name, options):
    made = make(name, 4, 3, 7, **options)
    indices = torch.randint(4, (50, 3))
    made(indices)  # statistics to use
    other = made.settings.module.build(made.settings, 4, 3, 7)
    assert other.settings == made.settings
    other.load_exported(made.export())
    assert torch.equal(other.compose_all(indices), made.compose_all(indices))
    books = list(made.W.shape)
    for name, wanted in (("W", books), ("V", "absent")):
        with pytest.raises(KDError) as caught:
            other.load_exported({**made.export(), name: torch.zeros(3)})
        assert str(caught.value) == f"shape of tensor {name!r} must be {wanted}, got [3]"
    with pytest.raises(KDError, match=r"shape of tensor .* must be .*, got absent"):
        other.load_exported({})


def test_error_scale_is_one_until_set_and_refuses_what_is_no_scale():
    transform = LinearTransform(4, 3, 2)
    assert torch.equal(transform.error_scale, torch.ones(2))
    transform.error_scale = torch.tensor([1.0, 3.0])
    assert torch.equal(transform.error_scale, torch.tensor([1.0, 3.0]))
    for wrong in ([1.0, 0.0], [1.0, math.inf], [1.0]):
        with pytest.raises(KDError, match="error_scale must be 2 finite numbers above 0"):
            transform.error_scale = torch.tensor(wrong)


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_vectors_composed_in_pieces_are_those_of_eval_mode(name, options):
    made = make(name, 4, 3, 7, **options)
    made(torch.randint(4, (50, 3)))  # statistics to use
    indices = torch.randint(4, (23, 3))
    composed = made.compose_all(indices, piece=5)
    assert made.training and not composed.requires_grad
    torch.testing.assert_close(composed, made.eval()(indices))


def test_linear_is_the_sum_of_the_chosen_rows():
    transform = LinearTransform(5, 3, 4, code_dim=2).double()
    indices = torch.randint(5, (6, 3))
    expected = sum(transform.W[j][indices[:, j]] for j in range(3)) @ transform.H
    torch.testing.assert_close(transform(indices), expected)
    assert LinearTransform(5, 3, 4).H is None


def test_counted_lstm_is_that_of_torch():
    transform = LSTMTransform(5, 3, 4, code_dim=6, cell="counted").double()
    torch.nn.init.uniform_(transform.bias, -1, 1)
    reference = torch.nn.LSTM(6, 6).double()
    i, f, o, m = range(4)
    order = [i, f, m, o]  # torch's order of gates

    def reordered(weight):
        return torch.cat([weight.chunk(4)[gate] for gate in order])

    with torch.no_grad():
        reference.weight_ih_l0.copy_(reordered(transform.input))
        reference.weight_hh_l0.copy_(reordered(transform.U))
        reference.bias_ih_l0.copy_(reordered(transform.bias))
        reference.bias_hh_l0.zero_()
    indices = torch.randint(5, (8, 3))
    outputs, _ = reference(transform.W[0][indices].transpose(0, 1))
    torch.testing.assert_close(transform(indices), outputs.sum(0) @ transform.H)


def test_printed_lstm_is_section_2_2_written_out():
    transform = LSTMTransform(5, 3, 4, code_dim=6, cell="printed").double()
    torch.nn.init.uniform_(transform.bias, -1, 1)
    indices = torch.randint(5, (8, 3))
    U_i, U_f, U_o, U_m = transform.U.chunk(4)
    b_i, b_f, b_o, b_m = transform.bias.chunk(4)
    h = m = total = torch.zeros(8, 6, dtype=torch.double)
    for j in range(3):
        w = transform.W[j][indices[:, j]]
        f = torch.sigmoid(w + h @ U_f.t() + b_f)
        i = torch.sigmoid(w + h @ U_i.t() + b_i)
        o = torch.sigmoid(w + h @ U_o.t() + b_o)
        m = f * m + i * torch.tanh(w + h @ U_m.t() + b_m)
        h = o * torch.tanh(m)
        total = total + h
    torch.testing.assert_close(transform(indices), total @ transform.H)


@pytest.mark.parametrize("D", [1, 2, 4])
def test_hand_written_derivative_of_the_lstm_agrees_with_differences(D):
    inputs = torch.randn(D, 3, 20, dtype=torch.double, requires_grad=True)
    U = torch.randn(20, 5, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(summed_lstm, (inputs, U))


@pytest.mark.parametrize("what", ["indices", "some dropped", "weights"])
def test_pytorchs_lstm_reads_codes_as_ours_does(monkeypatch, what):
    """What a GPU computes, on the CPU."""
    transform = make("lstm", 6, 4, 5, code_dim=3).double()
    torch.nn.init.normal_(transform.bias)
    indices = Codes.random(20, 6, 4, seed=1).tensor()
    mask = (torch.rand(20, 4) < 0.7) / 0.7 if what == "some dropped" else None
    weights = torch.rand(20, 4, 6, dtype=torch.double).softmax(-1)

    def found() -> list[torch.Tensor]:
        soft = what == "weights"
        vectors = transform.compose_soft(weights) if soft else transform(indices, mask=mask)
        vectors.square().sum().backward()
        gradients = [p.grad for p in transform.parameters()]
        transform.zero_grad()
        return [vectors.detach(), *gradients]

    expected = found()
    monkeypatch.setattr(LSTMTransform, "_by_pytorch", lambda self, given: True)
    for ours, theirs in zip(expected, found(), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", ["linear", "lstm"])
def test_normalised_vectors_start_at_their_scale_whatever_that_of_the_codes(name):
    for init_scale, scale in ((0.5, {}), (2.0, {}), (0.5, {"vector_scale": 0.1})):
        options = {"code_dim": 32, "init_scale": init_scale, "normalise": True, **scale}
        transform = make(name, 50, 10, 64, **options)
        vectors = transform(Codes.random(2000, 50, 10, seed=0).tensor()).detach()
        assert float(vectors.std()) == pytest.approx(scale.get("vector_scale", 1), rel=0.15)
        assert float(vectors.mean(0).abs().max()) < 1e-4


@pytest.mark.parametrize("name", ["linear", "lstm"])
def test_single_word_can_be_composed_in_training(name):
    transform = make(name, 5, 3, 4, code_dim=6, normalise=True)
    assert torch.isfinite(transform(torch.zeros(1, 3, dtype=torch.long))).all()


def test_an_unknown_cell_is_refused():
    with pytest.raises(KDError, match="cell must be one of counted, printed, got 'Printed'"):
        LSTMTransform(4, 2, 3, cell="Printed")


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((1, 3, 4), {}, "K must be at least 2, got 1"),
        ((5, 0, 4), {}, "D must be at least 1, got 0"),
        ((5, 2, -1), {}, "dim must be an integer above 0, got -1"),
        ((5, 2, 4), {"code_dim": 0}, "code_dim must be an integer above 0, got 0"),
        ((5, 2, 4), {"init_scale": 0.0}, "init_scale must be above 0 and finite, got 0.0"),
        ((5, 2, 4), {"vector_scale": -1}, "vector_scale must be above 0 and finite, got -1"),
    ],
)
def test_impossible_shapes_are_refused_in_one_line(shape, options, message):
    with pytest.raises(KDError, match=message):
        LinearTransform(*shape, **options)
