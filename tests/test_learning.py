import math
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from sklearn.cluster import KMeans
from test_transforms import make

import kdcore.transforms
from kdcore import Codes, KDError, LinearTransform, fit_transform, kinds, learn_codes, save_decoder
from kdcore.learners import LEARNERS, Control, LearnerInputs
from kdcore.learners.straight_through import TemperatureSchedule, straight_through
from kdcore.vectors import relative_error
from kdlab.clustering import ARMS, make_clusters, run_arm, run_kmeans
from kdlab.measures import nmi


def test_straight_through_is_one_hot_forward():
    logits = torch.randn(5, 3, 7, dtype=torch.double)
    weights = straight_through(logits, 0.3)
    torch.testing.assert_close(weights, F.one_hot(logits.argmax(-1), 7).double())


@pytest.mark.parametrize("T", [0.1, 1.0, 4.0])
def test_straight_through_gradient_is_that_of_the_tempered_softmax(T):
    """dL/dô_k = ζ_k (g_k − Σ_l ζ_l g_l) / T for an incoming gradient g, ζ = softmax(ô / T)."""
    logits = torch.randn(6, 7, dtype=torch.double, requires_grad=True)
    incoming = torch.randn(6, 7, dtype=torch.double)
    straight_through(logits, T).backward(incoming)
    zeta = torch.softmax(logits.detach() / T, -1)
    expected = zeta * (incoming - (zeta * incoming).sum(-1, keepdim=True)) / T
    torch.testing.assert_close(logits.grad, expected)


def test_temperature_falls_as_section_3_says():
    schedule = TemperatureSchedule(T0=2.0, decay_rate=0.5, unit="step", every=1)
    assert [schedule.at(t, 0) for t in (0, 1, 4)] == [2.0, 2.0 / 1.5, 2.0 / 3.0]
    stairs = TemperatureSchedule(T0=1.0, decay_rate=1.0, unit="epoch", every=5)
    assert [stairs.at(999, e) for e in (0, 4, 5, 14)] == [1.0, 1.0, 0.5, 1 / 3]
    assert TemperatureSchedule(decay_rate=0.0).at(10**6, 10**3) == 1.0
    assert TemperatureSchedule(T0="1e-1").T0 == 0.1
    with pytest.raises(ValidationError):
        TemperatureSchedule(T0="warm")


@pytest.fixture
def vectors():
    """Sums of hidden code vectors, so that a good code exists."""
    generator = torch.Generator().manual_seed(0)
    books = torch.randn(4, 8, 12, generator=generator)
    indices = torch.randint(8, (600, 4), generator=generator)
    return sum(books[j][indices[:, j]] for j in range(4)) + 3.0


@pytest.mark.parametrize(
    ("transform", "options", "bound"),
    [
        ("linear", {"epochs": 80}, 0.30),
        ({"kind": "lstm", "init_scale": 1.0}, {"epochs": 60, "learning_rate": 0.005}, 0.45),
        (
            {"kind": "lstm", "init_scale": 1.0, "cell": "printed"},
            {"epochs": 60, "learning_rate": 0.005},
            0.45,
        ),
    ],
)
def test_learned_codes_lose_far_less_than_random_ones(vectors, transform, options, bound):
    learned = learn_codes(vectors, 8, 4, transform, batch_size=50, **options)
    error = relative_error(vectors, learned.transform.compose_all(learned.codes.tensor()))
    assert error == pytest.approx(learned.history[-1].error, rel=1e-3)
    assert error < bound
    last = learned.history[-1]
    assert last.entropy > 0.9 * 3 and last.used == 8 and last.unique > 400


@pytest.mark.parametrize("offset", [100.0, 10_000.0])
@pytest.mark.parametrize("refinement", [None, {"rounds": 10}])
def test_a_large_mean_does_not_raise_the_error(vectors, offset, refinement):
    centred = vectors - vectors.mean(0)
    options = {"epochs": 40, "batch_size": 50, "refinement": refinement}
    found = []
    for table in (centred, centred + offset):
        learned = learn_codes(table, 8, 4, **options)
        composed = learned.transform.compose_all(learned.codes.tensor())
        found.append(relative_error(table, composed))
    assert found[1] == pytest.approx(found[0], abs=0.02)
    with pytest.warns(UserWarning, match="mean outweighs their spread .* times"):
        learn_codes(centred + offset, 8, 4, {"kind": "linear", "code_dim": 6}, epochs=1)


def test_standardised_vectors_are_learned_alike_and_composed_as_they_are(vectors):
    sizes = torch.logspace(-2, 2, vectors.shape[1])
    options = {"epochs": 10, "batch_size": 50, "standardise": True}
    plain = learn_codes(vectors, 8, 4, **options)
    uneven = learn_codes(vectors * sizes + 3, 8, 4, **options)
    assert uneven.history[-1].error == pytest.approx(plain.history[-1].error, rel=0.03)
    table = uneven.transform.compose_all(uneven.codes.tensor())
    back = (table - (vectors * sizes + 3).mean(0)) / (vectors * sizes).std(0, correction=0)
    standard = (vectors - vectors.mean(0)) / vectors.std(0, correction=0)
    assert relative_error(standard, back) == pytest.approx(uneven.history[-1].error, rel=1e-2)


def test_standardised_vectors_are_refined_standardised(vectors):
    sizes = torch.logspace(-2, 2, vectors.shape[1])
    found = {}
    for standardise in (False, True):
        learned = learn_codes(
            vectors * sizes + 3, 8, 4, epochs=10, batch_size=50, standardise=standardise,
            refinement={"rounds": 10},
        )  # fmt: skip
        composed = (learned.transform.compose_all(learned.codes.tensor()) - 3) / sizes
        found[standardise] = relative_error(vectors, composed)
        best = min(record.error for record in learned.history[10:])
    # All components alike, it is those of all that are composed, to what the refinement says.
    assert found[True] == pytest.approx(best, rel=0.1)
    assert found[True] < 0.8 * found[False]


def test_a_component_without_spread_is_composed_by_the_mean(vectors):
    table = torch.cat([vectors, torch.full((len(vectors), 1), 7.0)], 1)
    learned = learn_codes(table, 8, 4, epochs=5, batch_size=50, standardise=True)
    composed = learned.transform.compose_all(learned.codes.tensor())[:, -1]
    torch.testing.assert_close(composed, table[:, -1], atol=0.1, rtol=0)


@pytest.mark.parametrize("transform", [{"kind": "linear", "code_dim": 6}, "lstm"])
def test_standardising_is_refused_where_the_mean_cannot_be_added(vectors, transform):
    with pytest.raises(KDError, match="standardise must be false for a "):
        learn_codes(vectors, 8, 4, transform, epochs=1, standardise=True)


def test_random_draws_of_a_report_do_not_change_the_codes(vectors):
    plain = learn_codes(vectors, 8, 4, epochs=4)
    drawn = learn_codes(vectors, 8, 4, epochs=4, report=lambda *_: torch.manual_seed(0))
    assert plain.codes == drawn.codes


def test_counts_are_checked_before_anything_is_learned(vectors):
    def report(*_):
        raise AssertionError("learning began")

    for counts, message in (
        (torch.ones(3), r"counts must have shape \(600,\), got \(3,\)"),
        ([[1.0], [1.0, 2.0]], "counts must be numbers"),
    ):
        with pytest.raises(KDError, match=message):
            learn_codes(vectors, 8, 4, counts=counts, refinement={}, report=report)
    with pytest.raises(KDError, match="counts must be given with a refinement"):
        learn_codes(vectors, 8, 4, counts=torch.ones(600), report=report)


def test_stopped_refinement_begins_again_to_the_same_codes(vectors, tmp_path):
    options = {"epochs": 2, "refinement": {"rounds": 4}, "checkpoint": tmp_path / "c.safetensors"}
    answers = iter([False, False, False, True])  # two epochs, the codes as given, a round
    assert learn_codes(vectors, 8, 4, stop=lambda: next(answers), **options) is None
    again = learn_codes(vectors, 8, 4, **options)
    del options["checkpoint"]
    whole = learn_codes(vectors, 8, 4, **options)
    assert again.codes == whole.codes and again.history == whole.history


def test_refined_codes_that_save_nothing_warn(vectors):
    with pytest.warns(UserWarning, match="do not save anything"):
        learn_codes(
            vectors, 16, 40, {"kind": "linear", "code_dim": 1}, epochs=1, refinement={"rounds": 1}
        )


def test_a_shape_of_numpy_integers_can_be_saved(vectors, tmp_path):
    learned = learn_codes(vectors, np.int64(4), np.int64(3), epochs=1)
    save_decoder(tmp_path / "decoder.safetensors", learned.transform)


def test_equal_seeds_give_equal_codes_and_leave_the_random_state_alone(vectors):
    state = torch.get_rng_state()
    first = learn_codes(vectors, 8, 4, seed=3, epochs=3)
    assert torch.equal(state, torch.get_rng_state())
    second = learn_codes(vectors, 8, 4, seed=3, epochs=3)
    assert first.codes == second.codes
    assert torch.equal(first.transform.W, second.transform.W)
    assert first.codes != learn_codes(vectors, 8, 4, seed=4, epochs=3).codes


class _Killed(Exception):
    """A learner that ends without a word."""


@pytest.mark.parametrize("how", ["stopped", "killed"])
@pytest.mark.parametrize("transform", ["linear", "lstm"])
def test_resumed_learning_matches_uninterrupted_learning(vectors, tmp_path, transform, how):
    options = {"transform": transform, "batch_size": 50, "epochs": 6, "seed": 2}
    if transform == "linear":
        options["refinement"] = {"rounds": 3}
    whole = learn_codes(vectors, 8, 4, **options)
    checkpoint = tmp_path / "checkpoint.safetensors"
    options |= {"checkpoint": checkpoint, "checkpoint_seconds": 0}
    if how == "stopped":
        answers = iter([False, True])
        assert learn_codes(vectors, 8, 4, stop=lambda: next(answers), **options) is None
    else:

        def kill(record, _):
            if record.epoch == 3:  # the second is in the checkpoint
                raise _Killed

        with pytest.raises(_Killed):
            learn_codes(vectors, 8, 4, report=kill, **options)

    state, seen = torch.get_rng_state(), []
    learned = learn_codes(vectors, 8, 4, report=lambda record, _: seen.append(record), **options)
    assert torch.equal(state, torch.get_rng_state())
    assert [record.epoch for record in seen] == [3, 4, 5, 6]
    assert learned.history == whole.history
    assert learned.codes == whole.codes
    weights = zip(learned.transform.parameters(), whole.transform.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)

    # What is finished is in the checkpoint, too.
    seen.clear()
    again = learn_codes(vectors, 8, 4, report=lambda record, _: seen.append(record), **options)
    assert not seen
    assert again.codes == whole.codes and again.history == whole.history


def test_a_checkpoint_of_something_else_is_refused(vectors, tmp_path):
    checkpoint = tmp_path / "checkpoint.safetensors"
    learn = partial(learn_codes, K=8, D=4, epochs=2, checkpoint=checkpoint)
    learn(vectors)
    stored = checkpoint.read_bytes()
    for other in ({"epochs": 3}, {"seed": 1}, {"D": 3}, {"transform": "lstm"}):
        with pytest.raises(KDError, match="of other vectors or settings; delete it to start over"):
            learn(vectors, **other)
    with pytest.raises(KDError, match="of other vectors"):
        learn(vectors + 1)
    assert checkpoint.read_bytes() == stored
    checkpoint.write_bytes(stored[:-100])
    with pytest.raises(KDError, match=r"damaged .*; delete it to start over"):
        learn(vectors)


def test_kind_learns_as_the_function_does(vectors):
    settings = LEARNERS.parse(
        {"kind": "straight_through", "K": 8, "D": 4, "epochs": 2, "transform": {"kind": "lstm"}}
    )
    assert settings.needs == {"vectors"}
    inputs, seen = LearnerInputs(len(vectors), vectors), []
    control = Control(report=lambda record, indices: seen.append((record, indices)))
    learned = settings.module.learn(settings, inputs, 3, control)
    expected = learn_codes(vectors, 8, 4, "lstm", seed=3, epochs=2)
    assert learned.codes == expected.codes and learned.history == expected.history
    assert tuple(record for record, _ in seen) == learned.history
    assert torch.equal(seen[-1][1], learned.codes.tensor())
    for wrong, message in (
        (LearnerInputs(600), "vectors must be given, got none"),
        (LearnerInputs(599, vectors), "vectors must be 599, one a word, got 600"),
    ):
        with pytest.raises(KDError, match=message):
            settings.module.learn(settings, wrong, 3, control)


def test_random_codes_need_nothing_but_the_number_of_words():
    settings = LEARNERS.parse({"kind": "random", "K": 8, "D": 4})
    assert not settings.needs
    learned = settings.module.learn(settings, LearnerInputs(50), 3, Control())
    assert learned.codes == Codes.random(50, 8, 4, seed=3) and learned.transform is None


def test_scale_of_the_vectors_does_not_change_the_codes(vectors):
    # A power of two, so that rounding is the same.
    small = learn_codes(vectors / 1024, 8, 4, epochs=5)
    large = learn_codes(vectors * 1024, 8, 4, epochs=5)
    assert small.codes == large.codes


@pytest.mark.parametrize("factor", [1e20, 1e-25])
@pytest.mark.parametrize("standardise", [False, True])
def test_vectors_whose_squares_leave_float32_are_learned_as_well(vectors, factor, standardise):
    options = {"epochs": 20, "standardise": standardise}
    learned = learn_codes(vectors, 8, 4, **options)
    other = learn_codes(vectors * factor, 8, 4, **options)
    assert other.history[-1].error == pytest.approx(learned.history[-1].error, abs=0.1)
    composed = other.transform.compose_all(other.codes.tensor()) / factor
    near = 1e-2 if standardise else 1e-3  # components count otherwise
    assert relative_error(vectors, composed) == pytest.approx(other.history[-1].error, rel=near)
    transform = make("linear", 8, 4, 12)
    assert fit_transform(transform, other.codes, vectors * factor, learning_rate=0.02) < 1


def test_history_has_epochs_steps_and_changes(vectors):
    seen = []
    learned = learn_codes(
        vectors, 8, 4, epochs=4, batch_size=100, report=lambda record, indices: seen.append(indices)
    )
    assert [r.epoch for r in learned.history] == [1, 2, 3, 4]
    assert [r.step for r in learned.history] == [6, 12, 18, 24]
    assert torch.equal(seen[-1], learned.codes.tensor())
    changed = (seen[-1] != seen[-2]).any(1).double().mean()
    assert learned.history[-1].changed == pytest.approx(float(changed))


def test_one_position_with_the_linear_transform_is_k_means():
    clusters = make_clusters(nodes=1500, clusters=15, dim=8, spread=0.1, seed=0)
    best = KMeans(15, n_init=10, random_state=0).fit(clusters.vectors.numpy())
    learned = learn_codes(
        clusters.vectors,
        15,
        1,
        epochs=150,
        batch_size=50,
        temperature={"decay_rate": 1.0, "every": 5},
    )
    found = learned.codes.tensor()[:, 0]
    assert nmi(clusters.labels, found) > 0.93
    # Each centre is the mean of its cluster, as at a fixed point of k-means.
    for k in found.unique():
        centre = learned.transform.W[0, k].detach()
        mean = clusters.vectors[found == k].mean(0)
        assert float((centre - mean).norm()) < 0.15
    spread = (clusters.vectors - clusters.vectors.mean(0)).square().sum()
    assert learned.history[-1].error < float(best.inertia_ / spread) + 0.12


def test_the_three_arms_behave_as_section_3_says():
    clusters = make_clusters(nodes=2000, clusters=20, dim=10, spread=0.1, seed=1)
    curves = {arm: run_arm(arm, clusters, 20, epochs=100, every=5, seed=1) for arm in ARMS}
    last = {arm: curve[-1] for arm, curve in curves.items()}
    assert last["ste+schedule"].nmi > last["ste+constant"].nmi
    assert last["ste+schedule"].nmi > last["soft+schedule"].nmi
    assert last["ste+schedule"].loss < last["ste+constant"].loss
    assert min(p.changed for p in curves["ste+constant"][-10:]) > 0
    soft = [p.loss for p in curves["soft+schedule"]]
    assert soft[-1] > 1.05 * min(soft)
    loss, agreement = run_kmeans(clusters, 20, seed=1)
    assert agreement > 0.99 and loss == pytest.approx(10 * 0.1**2, rel=0.1)


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (torch.tensor([[1.0, 2.0], [math.nan, 0.0]]), "vector 1 must be finite"),
        (torch.tensor([[1.0, math.inf], [0.0, 0.0]]), "vector 0"),
        (torch.zeros(3), r"shape \(N, d\)"),
        (torch.zeros(0, 3), r"shape \(N, d\)"),
        (np.ones((4, 3)), "vectors must not all be equal, got 4 times the same"),
        ([[1.0, 2.0], [1.0]], "vectors must be a table of numbers"),
    ],
)
def test_bad_vectors_are_refused_in_one_line(vectors, message):
    with pytest.raises(KDError, match=message) as caught:
        learn_codes(vectors, 2, 2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"K": 1}, "K must be at least 2, got 1"),
        ({"D": 0}, "D must be at least 1, got 0"),
        ({"K": 2.5}, r"K must be an integer, got 2\.5"),
        ({"transform": {"kind": "linear", "cell": "printed"}}, "transform: key 'cell' is unknown"),
        ({"transform": "cubic"}, "transform kind 'cubic' is unknown; there are: linear, lstm"),
        ({"epoch": 3}, "key 'epoch' is unknown; did you mean 'epochs'"),
        ({"learning_rate": "fast"}, "learning_rate must be a number, got 'fast'"),
        ({"temperature": {"T0": -1.0}}, r"temperature\.T0 must be above 0, got -1\.0"),
        ({"refinement": {"rounds": 0}}, r"refinement\.rounds must be above 0, got 0"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(vectors, arguments, message):
    with pytest.raises(KDError, match=message) as caught:
        learn_codes(vectors, **{"K": 2, "D": 2, **arguments})
    assert "\n" not in str(caught.value)


def test_codes_that_save_nothing_warn():
    vectors = torch.randn(10, 4)
    with pytest.warns(UserWarning, match="fewer than the K = 16"):
        learn_codes(vectors, 16, 2, epochs=1)
    with pytest.warns(UserWarning, match="do not save anything"):
        learn_codes(vectors, 8, 2, epochs=1)


def test_a_linear_fit_reaches_least_squares(vectors):
    codes = Codes.random(len(vectors), 8, 4, seed=1)
    torch.manual_seed(0)
    transform = make("linear", 8, 4, 12)
    error = fit_transform(transform, codes, vectors, epochs=100, learning_rate=0.02)
    onehot = F.one_hot(codes.tensor(), 8).flatten(1).float()
    best = onehot @ torch.linalg.lstsq(onehot, vectors, driver="gelsd").solution
    assert error == pytest.approx(relative_error(vectors, best), rel=0.02)
    with torch.no_grad():
        assert relative_error(vectors, transform(codes.tensor())) == pytest.approx(error, rel=1e-4)


def test_a_mean_does_not_change_the_error_of_a_linear_fit(vectors):
    codes, fitted = Codes.random(len(vectors), 8, 4, seed=1), []
    for offset in (0.0, 50.0):
        torch.manual_seed(0)
        transform = make("linear", 8, 4, 12)
        centred = vectors - vectors.mean(0)
        error = fit_transform(transform, codes, centred + offset, epochs=30, learning_rate=0.02)
        composed = transform.compose_all(codes.tensor())
        assert relative_error(centred + offset, composed) == pytest.approx(error, rel=1e-3)
        fitted.append(error)
    assert fitted[1] == pytest.approx(fitted[0], rel=1e-3)


OWN = """
from torch import nn, empty, einsum
import torch.nn.functional as F
from kdcore.kinds import KindSettings
from kdcore.transforms import Transform

NUMERICS = 1

class Settings(KindSettings):
    pass

class Own(Transform):
    settings = Settings()

    def __init__(self, K, D, dim):
        super().__init__(K, D, dim, dim, projection=False, normalise=False)
        self.W = nn.Parameter(empty(D, K, dim).uniform_(-0.1, 0.1))

    def forward(self, indices, row_weights=None, mask=None):
        return self.compose_soft(F.one_hot(indices, self.K).float())

    def compose_soft(self, weights):
        return einsum("ndk,dkv->nv", weights, self.W)

def build(settings, K, D, dim):
    return Own(K, D, dim)
"""


def test_codes_are_learned_through_a_transform_in_a_file_of_its_own(vectors, tmp_path, monkeypatch):
    (tmp_path / "own.py").write_text(OWN)
    places = [*kdcore.transforms.__path__, str(tmp_path)]
    monkeypatch.setattr(kdcore.transforms, "__path__", places)
    monkeypatch.setattr(kdcore.transforms.__spec__, "submodule_search_locations", places)
    monkeypatch.setattr(kinds, "_modules", kinds._modules.__wrapped__)
    learned = learn_codes(vectors, 8, 4, "own", epochs=20)
    composed = learned.transform.compose_all(learned.codes.tensor())
    assert relative_error(vectors, composed) == pytest.approx(learned.history[-1].error, rel=1e-4)
    assert learned.history[-1].error < 0.5


@pytest.mark.parametrize("cell", ["counted", "printed"])
def test_an_lstm_fits_learned_codes(vectors, cell):
    # What is standardised before H has mean zero after it.
    vectors = vectors - vectors.mean(0)
    learned = learn_codes(vectors, 8, 4, epochs=60)
    torch.manual_seed(0)
    transform = make("lstm", 8, 4, 12, code_dim=24, cell=cell, init_scale=1.0, normalise=True)
    start = relative_error(vectors, transform.eval()(learned.codes.tensor()).detach())
    error = fit_transform(transform, learned.codes, vectors, epochs=60)
    assert error < 0.5 < start


def test_a_fit_refuses_what_does_not_belong_together(vectors):
    transform = make("linear", 8, 4, 12)
    with pytest.raises(
        KDError,
        match="must fit a transform with K = 8, D = 4 to size 12, got 600 codes with K = 8, D = 3",
    ):
        fit_transform(transform, Codes.random(len(vectors), 8, 3, seed=1), vectors)


def test_passes_and_batches_that_cannot_be_are_refused(vectors):
    codes, dim = Codes.random(len(vectors), 4, 3, seed=0), vectors.shape[1]
    for name in ("epochs", "batch_size"):
        with pytest.raises(KDError, match=f"{name} must be at least 1, got 0"):
            fit_transform(LinearTransform(4, 3, dim), codes, vectors, **{name: 0})


def test_a_seed_of_numpy_is_that_of_python(vectors, tmp_path):
    learn = partial(learn_codes, vectors, 4, 2, epochs=1, checkpoint=tmp_path / "c.safetensors")
    assert learn(seed=np.int64(3)).codes == learn(seed=3).codes
    with pytest.raises(KDError, match="seed must be an integer"):
        learn(seed=1.5)
