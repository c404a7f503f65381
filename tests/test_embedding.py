import copy
import pickle
import warnings

import pytest
import torch
from torch import nn

from kdcore import TRANSFORMS, Codes, KDEmbedding, KDError, encode, learn_codes, refine_codes
from kdcore.transforms.linear import LinearTransform
from kdcore.transforms.lstm import LSTMTransform


@pytest.fixture
def float32():
    """For a test that is about float32."""


@pytest.fixture(autouse=True)
def float64(request):
    """Two ways to the same numbers are compared in float64: rounding has no say on any CPU."""
    if "float32" in request.fixturenames:
        yield
        return
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def codes():
    return Codes.random(11, 6, 4, seed=0)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 3, 4), (0,), (2, 0)])
@pytest.mark.parametrize("dtype", [torch.long, torch.int32])
@pytest.mark.parametrize("transform", ["linear", "lstm"])
def test_any_shape_of_ids_as_torchs_embedding(codes, shape, dtype, transform):
    embedding = KDEmbedding(codes, 5, transform)
    ids = torch.randint(11, shape).to(dtype)
    found = embedding(ids)
    table = nn.Embedding.from_pretrained(embedding.transform(codes.tensor()))
    assert found.shape == (*shape, 5)
    torch.testing.assert_close(found, table(ids))


@pytest.mark.parametrize("transform", ["linear", "lstm"])
def test_gradients_are_those_of_a_table_of_composed_vectors(codes, transform):
    embedding = KDEmbedding(codes, 5, transform)
    ids = torch.tensor([[1, 1, 2], [7, 1, 2]])
    target = torch.randn(2, 3, 5)
    (embedding(ids) * target).sum().backward()
    found = [p.grad.clone() for p in embedding.parameters()]
    embedding.zero_grad()
    (embedding.transform(codes.tensor())[ids] * target).sum().backward()
    for a, p in zip(found, embedding.parameters(), strict=True):
        torch.testing.assert_close(a, p.grad)


@pytest.mark.parametrize("transform", ["linear", "lstm"])
def test_gradient_scale_changes_gradients_and_nothing_else(codes, transform):
    plain = KDEmbedding(codes, 5, transform, code_dim=7, normalise=True)
    scaled = KDEmbedding(codes, 5, transform, code_dim=7, normalise=True, gradient_scale=0.25)
    scaled.load_state_dict(plain.state_dict())
    ids = torch.tensor([[1, 4, 4], [9, 1, 0]])
    weights = torch.randn(2, 3, 5)
    torch.testing.assert_close(plain(ids), scaled(ids))
    for embedding in (plain, scaled):
        (embedding(ids) * weights).sum().backward()
    for p, q in zip(plain.parameters(), scaled.parameters(), strict=True):
        torch.testing.assert_close(q.grad, p.grad * 0.25)


@pytest.mark.parametrize("way", ["_compose_distinct", "_compose_each"])
def test_dropout_leaves_out_code_embedding_vectors_and_makes_up_for_them(codes, way, monkeypatch):
    embedding = KDEmbedding(codes, 5, dropout=0.25)
    monkeypatch.setattr(embedding, "_compose_distinct", getattr(embedding, way))
    # Each code embedding vector has a component of its own: what was kept can be read off.
    W = embedding.transform.W
    with torch.no_grad():
        W.zero_()[torch.arange(4), :, torch.arange(4)] = 1.0
    ids = torch.arange(11).repeat(2)
    torch.manual_seed(0)
    drawn = torch.stack([embedding(ids) for _ in range(600)])[..., :4]
    values = drawn.unique()
    torch.testing.assert_close(values, torch.tensor([0.0, 1 / 0.75]))
    # One choice for all places of a word, another for each word, position and batch.
    assert torch.equal(drawn[:, :11], drawn[:, 11:])
    torch.testing.assert_close(drawn.mean(0), torch.ones(22, 4), rtol=0, atol=0.1)
    kept = (drawn[:, :11] > 0).flatten(1).float()
    assert torch.corrcoef(kept.t()).fill_diagonal_(0).abs().max() < 0.2
    assert torch.equal(embedding.eval()(ids), embedding(ids))
    torch.testing.assert_close(embedding(ids)[:, :4], torch.ones(22, 4))


@pytest.mark.parametrize("transform", ["linear", "lstm"])
def test_dropout_has_no_say_in_eval_mode_and_in_a_table(codes, transform):
    plain = KDEmbedding(codes, 5, transform)
    dropping = KDEmbedding(codes, 5, transform, dropout=0.5)
    dropping.load_state_dict(plain.state_dict())
    ids = torch.arange(11)
    assert not torch.allclose(dropping(ids), plain(ids))
    torch.testing.assert_close(dropping.eval()(ids), plain.eval()(ids))
    torch.testing.assert_close(dropping.train().materialise()(ids), plain(ids))


def test_what_eval_mode_composes_is_the_mean_of_training_where_sums_are_standardised():
    codes = Codes.random(400, 6, 4, seed=0)
    embedding = KDEmbedding(codes, 5, code_dim=7, normalise=True, dropout=0.3)
    ids = torch.arange(400)
    torch.manual_seed(0)
    mean = torch.stack([embedding(ids) for _ in range(400)]).mean(0).detach()
    found = embedding.eval()(ids).detach()
    share = (mean * found).sum() / (found * found).sum()
    assert share == pytest.approx(1.0, abs=0.02)
    assert (mean - found).square().mean() < 0.02 * found.square().mean()


@pytest.mark.parametrize("transform", ["linear", "lstm"])
def test_dropout_keeps_the_type_of_the_weights(codes, transform, float32):
    embedding = KDEmbedding(codes, 5, transform, dropout=0.3)
    for dtype in (torch.float64, torch.float32):
        assert embedding.to(dtype)(torch.arange(11)).dtype == dtype


def test_a_transform_of_ones_own_need_not_know_of_dropout(codes):
    class Own(LinearTransform):
        def forward(self, indices, row_weights=None):
            return super().forward(indices, row_weights)

    assert KDEmbedding(codes, transform=Own(6, 4, 5))(torch.arange(11)).shape == (11, 5)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("inf"), float("nan")])
def test_a_gradient_scale_that_is_no_scale_is_refused(codes, scale):
    with pytest.raises(KDError, match="gradient_scale must be above 0 and finite"):
        KDEmbedding(codes, 5, gradient_scale=scale)


@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_a_dropout_that_is_no_share_is_refused(codes, dropout):
    with pytest.raises(KDError, match="dropout must be at least 0 and below 1"):
        KDEmbedding(codes, 5, dropout=dropout)


def test_an_unknown_packing_is_refused(codes):
    with pytest.raises(KDError, match="packing must be one of index, code, got 'codes'"):
        KDEmbedding(codes, 5, packing="codes")


def test_equal_ids_are_composed_once(codes):
    embedding = KDEmbedding(codes, 5)
    composed = []
    embedding.transform.register_forward_hook(lambda *a: composed.append(len(a[2])))
    embedding(torch.tensor([3, 3, 3, 4]))
    assert composed == [2]


@pytest.mark.parametrize("transform", ["linear", "lstm"])
@pytest.mark.parametrize("ids", [[3, 1, 3, 3, 0, 10, 10], [4, 4, 4, 4, 4, 4, 4], [2], []])
def test_a_gpus_way_of_composing_is_that_of_a_cpu(codes, transform, ids, monkeypatch):
    ids, weights = torch.tensor(ids, dtype=torch.long), torch.randn(len(ids), 5)
    found = []
    for way in ("_compose_distinct", "_compose_each"):
        torch.manual_seed(3)
        embedding = KDEmbedding(codes, 5, transform, code_dim=7, normalise=True, gradient_scale=0.5)
        monkeypatch.setattr(embedding, "_compose_distinct", getattr(embedding, way))
        vectors = [embedding(ids), embedding(ids.flip(0)), embedding(torch.arange(11))]
        (vectors[0] * weights).sum().backward()
        gradients = [p.grad for p in embedding.parameters()]
        found.append([*vectors, *gradients, *embedding.transform.norm.state_dict().values()])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("padding_idx", [0, -1])
def test_padding_is_zero_and_has_no_gradient(codes, padding_idx):
    embedding = KDEmbedding(codes, 5, padding_idx=padding_idx)
    pad = padding_idx % 11
    vectors = embedding(torch.tensor([pad, 3]))
    assert not vectors[0].any() and vectors[1].any()
    vectors[0].sum().backward()
    assert not embedding.transform.W.grad.any()
    assert not embedding.materialise()(torch.tensor(pad)).any()


@pytest.mark.parametrize("way", ["_compose_distinct", "_compose_each"])
@pytest.mark.parametrize("transform", ["linear", "lstm"])
def test_padding_has_no_part_in_the_statistics(way, transform, monkeypatch):
    codes = Codes([[0, 0], [1, 1], [2, 2], [3, 3]], 4)
    embedding = KDEmbedding(codes, 5, transform, code_dim=3, normalise=True, padding_idx=0)
    monkeypatch.setattr(embedding, "_compose_distinct", getattr(embedding, way))
    other = KDEmbedding(codes, 5, transform, code_dim=3, normalise=True)
    other.load_state_dict(embedding.state_dict())
    found, expected = embedding(torch.tensor([0, 0, 1, 2, 3])), other(torch.tensor([1, 2, 3]))
    assert not found[:2].any()
    torch.testing.assert_close(found[2:], expected)
    weights = torch.randn(3, 5)
    (found[2:] * weights).sum().backward()
    (expected * weights).sum().backward()
    for p, q in zip(embedding.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad)
    for p, q in zip(embedding.buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(p, q)
    embedding.zero_grad()
    (embedding(torch.tensor([0, 0])) ** 2).sum().backward()
    assert not any(p.grad.any() for p in embedding.parameters() if p.grad is not None)


LOOKED_UP = [
    ("linear", {}),
    ("product", {"groups": 2}),
    ("product", {"shared": True}),
    ("product", {"groups": 4}),
]


@pytest.mark.parametrize(("transform", "options"), LOOKED_UP, ids=str)
@pytest.mark.parametrize("K", [3, 300, 40_000])
@pytest.mark.parametrize("padding_idx", [None, 3])
@pytest.mark.parametrize("large", [False, True])
def test_many_lookups_give_what_the_first_one_gave(
    transform, options, K, padding_idx, large, monkeypatch
):
    if large:  # rows of a large table are kept in few bytes
        monkeypatch.setattr("kdcore.embedding.INDEXING_BYTES", 0)
    codes = Codes.random(70, K, 4, seed=0)
    embedding = KDEmbedding(codes, 8, transform, padding_idx=padding_idx, **options).eval()
    ids = torch.randint(70, (3, 5))
    before, one = embedding(ids), embedding(torch.tensor(7))
    for _ in range(20):
        embedding(ids)
    assert torch.equal(embedding(ids), before) and torch.equal(embedding(torch.tensor(7)), one)
    assert embedding(ids[:0]).shape == (0, 5, 8)
    assert embedding._kept.rows.element_size() == (4 if not large or K > 300 else 1 + (K > 3))
    for wrong in (-1, 70):
        with pytest.raises(IndexError, match=f"ids must be from 0 to 69, got {wrong}"):
            embedding(torch.tensor([3, wrong]))
    # Gradients are those of the same vectors in training.
    embedding(ids).square().sum().backward()
    found = embedding.transform.W.grad.clone()
    embedding.zero_grad()
    embedding.train()(ids).square().sum().backward()
    torch.testing.assert_close(embedding.transform.W.grad, found)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("transform", "options"), [*LOOKED_UP, ("product", {"groups": 2})])
def test_looked_up_vectors_are_those_of_the_whole_table(transform, options, dtype, float32):
    dim = 7 if options.get("groups") == 2 else 8  # slices of two sizes, too
    embedding = KDEmbedding(Codes.random(70, 300, 4, seed=0), dim, transform, **options)
    embedding = embedding.to(dtype).eval()
    table = embedding.materialise()
    for count in (1, 32, 5000):
        ids = torch.randint(70, (count,))
        for _ in range(20):
            found = embedding(ids)
        assert found.dtype == dtype and torch.equal(found, table(ids))
        assert torch.equal(embedding(ids.int()), found)
        assert torch.equal(embedding(ids.view(1, -1, 1)), found.view(1, -1, 1, dim))


@pytest.mark.parametrize(("transform", "options"), LOOKED_UP, ids=str)
def test_weights_that_change_are_looked_up_as_they_are(transform, options):
    embedding = KDEmbedding(Codes.random(70, 6, 4, seed=0), 8, transform, **options).eval()
    ids = torch.arange(70)

    def same() -> bool:
        with torch.no_grad():
            return torch.equal(embedding(ids), embedding.materialise()(ids))

    for _ in range(20):
        assert same()
    W = embedding.transform.W
    with torch.no_grad():
        W.mul_(2)
    assert same()
    W.data = torch.randn_like(W)
    assert same()
    embedding.to(torch.float32)
    assert same() and embedding(ids).dtype == torch.float32
    embedding.transform = copy.deepcopy(embedding.transform)
    torch.nn.init.normal_(embedding.transform.W)
    assert same()
    other = KDEmbedding(Codes.random(70, 6, 4, seed=0), 8, "linear").eval()
    embedding.transform = other.transform
    assert same()


def test_gradients_in_eval_mode_after_many_lookups(codes):
    """Of lookups without gradient, too: what they kept has no say."""
    embedding = KDEmbedding(codes, 5, gradient_scale=0.25, padding_idx=2).eval()
    ids = torch.tensor([3, 2, 3, 7])
    gradients = []
    for mode in (torch.enable_grad, torch.inference_mode, torch.no_grad):
        with mode():
            for _ in range(20):
                embedding(ids)
        embedding.zero_grad()
        embedding(ids).pow(3).sum().backward()
        gradients.append(embedding.transform.W.grad.clone())
    assert gradients[0].any()
    torch.testing.assert_close(gradients[1:], gradients[:1] * 2)
    fresh = KDEmbedding(codes, transform=embedding.transform, gradient_scale=0.25, padding_idx=2)
    embedding.zero_grad()
    fresh(ids).pow(3).sum().backward()
    torch.testing.assert_close(embedding.transform.W.grad, gradients[0])


def test_a_transform_of_ones_own_composes_in_every_lookup(codes):
    class Doubled(LinearTransform):
        def forward(self, *arguments, **options):
            return 2 * super().forward(*arguments, **options)

    embedding = KDEmbedding(codes, transform=Doubled(6, 4, 5)).eval()
    ids = torch.arange(11)
    first = embedding(ids)
    for _ in range(20):
        assert torch.equal(embedding(ids), first)


def test_what_is_made_without_versions_is_looked_up(codes):
    with torch.inference_mode():
        embedding = KDEmbedding(codes, 5).eval()
        ids = torch.arange(11)
        for _ in range(20):
            assert torch.equal(embedding(ids), embedding.materialise()(ids))


def test_codes_that_are_loaded_are_looked_up_from_then_on():
    first, second = (KDEmbedding(Codes.random(70, 6, 4, seed), 8).eval() for seed in (0, 1))
    ids = torch.arange(70)
    for _ in range(3):
        first(ids)
    first.load_state_dict(second.state_dict())
    assert torch.equal(first(ids), second(ids))
    for _ in range(3):
        first(ids)
    again = pickle.loads(pickle.dumps(first))
    assert torch.equal(copy.deepcopy(first)(ids), first(ids))
    assert torch.equal(again(ids), first(ids))


@pytest.mark.parametrize(("transform", "options"), LOOKED_UP, ids=str)
def test_it_is_mapped_over_ids(transform, options):
    embedding = KDEmbedding(Codes.random(70, 6, 4, seed=0), 8, transform, **options).eval()
    ids = torch.randint(70, (3, 5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.testing.assert_close(torch.vmap(embedding)(ids), embedding(ids))


def test_what_was_learned_is_an_embedding_as_it_is(float32):
    learned = learn_codes(torch.randn(60, 6), 4, 3, epochs=2)
    embedding = KDEmbedding.from_pretrained(learned)
    wanted = learned.transform.compose_all(learned.codes.tensor())
    torch.testing.assert_close(embedding(torch.arange(60)), wanted)
    assert not embedding.transform.W.requires_grad
    with pytest.raises(KDError, match="transform must be given with codes, got none"):
        KDEmbedding.from_pretrained(learned.codes)


def test_refinement_is_asked_for_by_true(float32):
    vectors = torch.randn(60, 6)
    asked, given = (learn_codes(vectors, 4, 3, epochs=2, refinement=r) for r in (True, {}))
    assert asked.codes == given.codes and len(asked.history) > 2
    assert len(learn_codes(vectors, 4, 3, epochs=2, refinement=False).history) == 2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("transform", ["linear", "lstm"])
def test_half_precision_as_a_gpu_composes(codes, transform, dtype, float32):
    embedding = KDEmbedding(codes, 5, transform, code_dim=7, normalise=True)
    ids = torch.tensor([3, 1, 3, 0])
    half = copy.deepcopy(embedding).to(dtype)
    expected, found = embedding._compose_each(ids), half._compose_each(ids)
    found.sum().backward()
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), expected, rtol=0.1, atol=0.1)
    running = half.transform.norm.running_mean.float()
    torch.testing.assert_close(running, embedding.transform.norm.running_mean, rtol=0.1, atol=0.01)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("transform", ["linear", "lstm"])
def test_it_can_be_exported(codes, transform, training):
    options = {"code_dim": 7, "padding_idx": 0, "gradient_scale": 0.3}
    embedding = KDEmbedding(codes, 5, transform, **options).train(training)
    count = torch.export.Dim("count", min=2, max=1000)
    exported = torch.export.export(
        embedding, (torch.tensor([1, 4, 4]),), dynamic_shapes=({0: count},)
    ).module()
    ids = torch.tensor([10, 0, 3, 3, 7])
    torch.testing.assert_close(exported(ids), embedding(ids))
    gradients = []
    for module in (exported, embedding):
        module.zero_grad()
        module(ids).square().sum().backward()
        gradients.append({name: p.grad for name, p in module.named_parameters()})
    torch.testing.assert_close(*gradients)
    for outside in (-1, 11):
        with pytest.raises(IndexError):
            exported(torch.tensor([outside, 3]))


# PyTorch's own compiler does what PyTorch warns of.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("transform", ["linear", "lstm"])
def test_it_can_be_compiled_as_one_graph(codes, transform):
    embedding = KDEmbedding(codes, 5, transform, code_dim=7, normalise=True, gradient_scale=0.3)
    compiled = torch.compile(embedding, backend="aot_eager", fullgraph=True)
    gradients = []
    for module in (compiled, embedding):
        embedding.zero_grad()
        module(torch.tensor([10, 0, 3, 3, 7])).pow(3).sum().backward()
        gradients.append([parameter.grad.clone() for parameter in embedding.parameters()])
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("transform", ["linear", "lstm"])
def test_it_can_be_made_without_memory_and_loaded(codes, transform):
    embedding = KDEmbedding(codes, 5, transform, code_dim=7, normalise=True)
    with torch.device("meta"):
        empty = KDEmbedding(codes, 5, transform, code_dim=7, normalise=True)
    loaded = empty.to_empty(device="cpu")
    loaded.load_state_dict(embedding.state_dict())
    ids = torch.arange(11)
    assert torch.equal(loaded.eval()(ids), embedding.eval()(ids))


def test_ids_outside_are_refused(codes):
    for ids in ([11], [-1]):
        with pytest.raises(IndexError, match="ids must be from 0 to 10, got"):
            KDEmbedding(codes, 5)(torch.tensor(ids))
        for training in (True, False):
            with pytest.raises(IndexError):
                KDEmbedding(codes, 5).train(training)._compose_each(torch.tensor(ids))


@pytest.mark.parametrize("dtype", [torch.float, torch.bool, torch.cfloat])
def test_ids_that_are_no_integers_are_refused(codes, dtype):
    with pytest.raises(TypeError, match=str(dtype)):
        KDEmbedding(codes, 5)(torch.ones(3, dtype=dtype))


def test_who_asks_for_bags_is_told_how_to_have_them(codes):
    embedding, ids, offsets = KDEmbedding(codes, 5), torch.tensor([1, 2, 4]), torch.tensor([0, 2])
    for call in (lambda: embedding(ids, offsets), lambda: embedding(ids, offsets=offsets)):
        with pytest.raises(TypeError, match="offsets must be left out") as refused:
            call()
    advice = str(refused.value).rpartition(", ")[2]
    bags = eval(advice, {"nn": nn, "embedding": embedding})
    vectors = embedding.eval()(ids)
    torch.testing.assert_close(bags(ids, offsets), torch.stack([vectors[:2].mean(0), vectors[2]]))


def test_codes_of_another_shape_are_not_loaded(codes):
    """K = 6 and K = 7 take the same bits."""
    model = nn.Sequential(KDEmbedding(codes, 5, code_dim=3))
    other = nn.Sequential(KDEmbedding(Codes.random(11, 7, 4, seed=1), 5, code_dim=3))
    before = other[0].codes
    with pytest.raises(KDError, match="must have N = 11, K = 7, D = 4, got N = 11, K = 6"):
        other.load_state_dict(model.state_dict())
    assert other[0].codes == before
    # A state stored before the shape was kept with it.
    state = model.state_dict()
    del state["0._extra_state"]
    model.load_state_dict(state)


def test_state_dict_carries_the_codes(codes):
    first = KDEmbedding(codes, 5, "lstm", normalise=True)
    second = KDEmbedding(Codes.random(11, 6, 4, seed=9), 5, "lstm", normalise=True)
    second.load_state_dict(first.state_dict())
    ids = torch.arange(11)
    torch.testing.assert_close(first.eval()(ids), second.eval()(ids))
    assert second.codes == codes
    torch.testing.assert_close(copy.deepcopy(first)(ids), first(ids))


@pytest.mark.parametrize("D", [1, 2, 6])
@pytest.mark.parametrize(
    "transform",
    [{"kind": "linear"}, {"kind": "product"}, {"kind": "product", "groups": 1}],
    ids=str,
)
def test_codes_of_any_length_are_looked_up(D, transform):
    settings = TRANSFORMS.parse(transform)
    made = settings.module.build(settings, 6, D, 7)
    embedding = KDEmbedding(Codes.random(11, 6, D, seed=0), transform=made).eval()
    table = embedding.materialise()
    # The first lookups, and those for which codes are kept as rows.
    for _ in range(20):
        for ids in (torch.tensor(3), torch.tensor([3, 10, 3]), torch.tensor([[0, 1], [2, 2]])):
            torch.testing.assert_close(embedding(ids), table(ids))


@pytest.mark.parametrize("transform", ["linear", "lstm"])
def test_materialise_gives_the_same_vectors(codes, transform):
    embedding = KDEmbedding(codes, 5, transform, code_dim=7, normalise=True)
    embedding(torch.arange(11))  # moves the running statistics
    table = embedding.materialise()
    assert isinstance(table, nn.Embedding) and not table.weight.requires_grad
    assert embedding.training
    ids = torch.randint(11, (4, 3))
    torch.testing.assert_close(table(ids), embedding.eval()(ids))


def test_from_pretrained_gives_back_the_learned_vectors(float32):
    vectors = torch.randn(40, 6)
    learned = learn_codes(vectors, 8, 4, epochs=30, batch_size=10)
    embedding = KDEmbedding.from_pretrained(learned.codes, learned.transform)
    error = (embedding(torch.arange(40)) - vectors).square().sum() / vectors.square().sum()
    assert error < 0.6
    assert not any(p.requires_grad for p in embedding.parameters())
    assert all(p.requires_grad for p in learned.transform.parameters())


def test_a_frozen_embedding_does_not_change_in_training(codes):
    transform = LSTMTransform(codes.K, codes.D, 5, code_dim=7, normalise=True)
    transform(codes.tensor())
    embedding = KDEmbedding.from_pretrained(codes, transform)
    before = embedding.eval()(torch.arange(11))
    model = nn.Sequential(embedding, nn.Linear(5, 2)).train()
    model(torch.tensor([3, 3, 4]))
    torch.testing.assert_close(embedding(torch.tensor([3, 4])), before[3:5])
    torch.testing.assert_close(embedding.eval()(torch.arange(11)), before)


def test_it_replaces_an_embedding_in_a_model(codes):
    model = nn.Sequential(KDEmbedding(codes, 5), nn.Flatten(), nn.Linear(15, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    ids, labels = torch.randint(11, (30, 3)), torch.randint(2, (30,))
    losses = []
    for _ in range(200):
        loss = nn.functional.cross_entropy(model(ids), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_memory_is_that_of_transform_and_packed_codes(float32):
    codes = Codes.random(10_000, 50, 10, seed=0)
    embedding = KDEmbedding(codes, 200)
    tensors = [*embedding.parameters(), *embedding.buffers()]
    held = sum(t.numel() * t.element_size() for t in tensors)
    assert held == 100_000 * 4 + 10_000 * 10 * 6 // 8


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((5, "quadratic"), {}, "transform: transform kind 'quadratic' is unknown; there are: lin"),
        ((5, "linaer"), {}, "transform kind 'linaer' is unknown; did you mean 'linear'"),
        ((5,), {"cell": "printed"}, "transform: key 'cell' is unknown; there are: code_dim, init"),
        ((5,), {"code_dim": 0}, "transform.code_dim must be above 0, got 0"),
        ((), {}, "embedding_dim must be given with a transform by name"),
        ((-1,), {}, "dim must be an integer above 0, got -1"),
        ((5,), {"padding_idx": 11}, "padding_idx must be from -11 to 10, got 11"),
        ((5,), {"padding_idx": 1.5}, r"padding_idx must be an integer, got 1\.5"),
        ((4, LinearTransform(6, 4, 5)), {}, "embedding_dim must be 5 as the transform gives, got"),
        ((None, LinearTransform(7, 4, 5)), {}, "transform must be for K = 6, D = 4 .*, got K = 7"),
        ((None, LinearTransform(6, 4, 5)), {"normalise": True}, "'normalise' must go with a tran"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(codes, arguments, options, message):
    with pytest.raises(KDError, match=message) as refused:
        KDEmbedding(codes, *arguments, **options)
    assert "\n" not in str(refused.value)


def test_what_was_learned_is_not_taken_for_a_part_of_it():
    vectors = torch.randn(20, 4)
    learned = learn_codes(vectors, K=4, D=2, epochs=1)
    wrong = [
        (lambda: KDEmbedding(learned.codes, transform=learned), "transform must be a Transform"),
        (lambda: encode(vectors, learned), "transform must be a Transform"),
        (lambda: refine_codes(vectors, learned), r"codes must be Codes\(indices, K\)"),
    ]
    for call, message in wrong:
        with pytest.raises(KDError, match=f"{message}, got a LearnedCodes"):
            call()


def test_what_is_no_codes_is_refused(codes):
    with pytest.raises(KDError, match=r"codes must be Codes\(indices, K\), got a Tensor"):
        KDEmbedding(codes.tensor(), 5)


@pytest.mark.parametrize("options", [{}, {"code_dim": 3}, {"code_dim": 7, "normalise": True}])
@pytest.mark.parametrize("transform", ["linear", "lstm"])
def test_what_is_exported_composes_the_same_vectors(codes, transform, options):
    embedding = KDEmbedding(codes, 5, transform, **options)
    for _ in range(20):  # moves the running statistics
        embedding(torch.randint(11, (30,)))
    settings = embedding.transform.settings
    loaded = KDEmbedding.from_exported(embedding.export(), 11, 5, settings)
    ids = torch.randint(11, (4, 3))
    torch.testing.assert_close(loaded(ids), embedding.eval()(ids))
    assert loaded.codes == codes
    torch.testing.assert_close(loaded.export(), embedding.export())


def test_an_export_of_sums_is_codes_books_and_projection_alone(codes):
    embedding = KDEmbedding(codes, 5, code_dim=3, normalise=True)
    shapes = {name: tuple(tensor.shape) for name, tensor in embedding.export().items()}
    packed = -(-11 * 4 * 3 // 8)
    assert shapes == {"packed": (packed,), "transform.W": (4, 6, 3), "transform.H": (3, 5)}
    lstm = KDEmbedding(codes, 5, "lstm", code_dim=3, normalise=True).export()
    assert "transform.norm.running_mean" in lstm and "transform.norm.running_var" not in lstm


def test_table_1s_size_and_rate_with_codes(float32):
    embedding = KDEmbedding(Codes.random(10_000, 50, 10, seed=0), 200)
    size = embedding.size()
    assert (size.parameters, size.bits) == (100_000, 100_000 * 32 + 10_000 * 10 * 6)
    assert size.rate(10_000, 200) == 0.05
    assert size.rate_with_codes(10_000, 200) == pytest.approx(0.059375)


def test_what_was_exported_for_others_is_refused(codes):
    embedding = KDEmbedding(codes, 5, code_dim=3)
    exported, settings = embedding.export(), embedding.transform.settings
    for changed, words, dim, message in [
        ({}, 12, 5, "packed codes"),
        ({}, 11, 6, "'H' must be"),
        ({"transform.W": torch.zeros(4, 6)}, 11, 5, "'transform.W' must have shape"),
        ({"transform.V": torch.zeros(1)}, 11, 5, "'V' must be"),
    ]:
        with pytest.raises(KDError, match=message):
            KDEmbedding.from_exported({**exported, **changed}, words, dim, settings)
    del exported["packed"]
    with pytest.raises(KDError, match="tensor 'packed' is missing; there are: transform"):
        KDEmbedding.from_exported(exported, 11, 5, settings)
