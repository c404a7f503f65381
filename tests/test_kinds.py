"""Promises that every kind keeps, whoever wrote it: kinds are found by looking.

A kind gives settings that are small enough for this, `EXAMPLE`, itself. Two ways to the same
numbers are compared in float64.
"""

import copy
import inspect
import json
import os
import pkgutil
import re
import shutil
import struct
import subprocess
import sys
import warnings
from dataclasses import asdict, fields, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import get_args

import pytest
import torch

from kdcore.codes import Codes
from kdcore.embeddings import (
    EMBEDDINGS,
    Embedding,
    EmbeddingInputs,
    FixedEmbedding,
    load_embedding,
    save_embedding,
)
from kdcore.errors import KDError
from kdcore.kinds import Kinds, KindSettings, Section
from kdcore.learners import LEARNERS, Control, LearnedCodes, LearnerInputs
from kdcore.transforms import TRANSFORMS, Transform

WORDS, DIM, K, D = 23, 6, 5, 3
# What a kind of each folder can do.
FUNCTIONS = {
    "kdcore.learners": ["learn"],
    "kdcore.transforms": ["build"],
    "kdcore.embeddings": ["build", "load"],
    "kdlab.texts": ["read"],
    "kdlab.vectors": ["read"],
    "kdlab.figures": ["draw"],
}


def folders():
    """The folders of kinds in both packages."""
    for root in ("kdcore", "kdlab"):
        for found in pkgutil.iter_modules(import_module(root).__path__, f"{root}."):
            if found.ispkg:
                for held in vars(import_module(found.name)).values():
                    if isinstance(held, Kinds) and held.package == found.name:
                        yield held


def every(*chosen):
    """Parametrise with all kinds in some folders."""
    cases = [(kinds, name) for kinds in chosen for name in kinds.names()]
    names = [f"{kinds.package.rpartition('.')[2]}-{name}" for kinds, name in cases]
    return pytest.mark.parametrize(("kinds", "kind"), cases, ids=names)


def example(kinds, kind):
    """Small settings of a kind."""
    return kinds.parse({"kind": kind, **getattr(kinds.load(kind), "EXAMPLE", {})}, kind)


def one_line(refused):
    assert "\n" not in str(refused.value)
    return str(refused.value)


# All kinds


def test_every_folder_of_kinds_is_held_to_promises():
    assert {kinds.package for kinds in folders()} == set(FUNCTIONS)


@every(*folders())
def test_a_kind_has_a_version_settings_and_its_functions(kinds, kind):
    module = kinds.load(kind)
    assert isinstance(module.NUMERICS, int) and module.NUMERICS >= 1
    assert issubclass(module.Settings, KindSettings)
    for name in FUNCTIONS[kinds.package]:
        assert inspect.isfunction(getattr(module, name)), name
    assert example(kinds, kind).kind == kind
    assert example(kinds, kind).module is module


def sections(model):
    yield model
    for field in model.model_fields.values():
        for part in (field.annotation, *get_args(field.annotation)):
            if inspect.isclass(part) and issubclass(part, Section) and part is not KindSettings:
                yield from sections(part)


@every(*folders())
def test_a_kind_and_all_its_settings_are_documented(kinds, kind):
    module = kinds.load(kind)
    assert module.__doc__
    for name in FUNCTIONS[kinds.package]:
        assert getattr(module, name).__doc__, name
    for section in sections(module.Settings):
        assert section.__doc__, section
        for name, field in section.model_fields.items():
            assert field.description, f"{section.__name__}.{name}"


@every(*folders())
def test_settings_survive_being_written_and_defaults_are_valid(kinds, kind):
    settings = example(kinds, kind)
    written = json.loads(json.dumps(settings.model_dump(mode="json")))
    assert written["kind"] == kind
    assert kinds.parse(written) == settings
    assert isinstance(settings.needs, frozenset)


@every(*folders())
def test_an_unknown_key_is_refused_in_one_line(kinds, kind):
    values = example(kinds, kind).model_dump()
    with pytest.raises(KDError, match="here: key 'colour' is unknown") as refused:
        kinds.parse({**values, "colour": 1}, "here")
    one_line(refused)
    for name in values.keys() - {"kind"}:
        with pytest.raises(KDError, match=f"did you mean '{name}'") as refused:
            kinds.parse({**values, f"{name}_": 1}, "here")
        one_line(refused)


@pytest.mark.parametrize("kinds", list(folders()), ids=lambda kinds: kinds.package)
def test_an_unknown_kind_is_refused_in_one_line_with_the_nearest(kinds):
    near = kinds.names()[0]
    for given, message in [
        ({"kind": f"{near}s"}, f"kind '{near}s' is unknown; did you mean '{near}'"),
        ({"kind": "0"}, f"unknown; there are: {', '.join(kinds.names())}"),
        ({}, "must have a kind, one of"),
        (3, "must be a section with a kind, got 3"),
    ]:
        with pytest.raises(KDError, match=message) as refused:
            kinds.parse(given, "here")
        assert one_line(refused).startswith("here: ")


# Learners


@pytest.fixture
def learner_inputs():
    vectors, counts = torch.randn(WORDS, DIM), torch.randint(1, 50, (WORDS,))
    return LearnerInputs(WORDS, vectors, counts, Codes.random(WORDS, K, D, seed=3))


def learn(kinds, kind, inputs, seed=7, **control):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # codes are not worth it for so few words
        return kinds.load(kind).learn(example(kinds, kind), inputs, seed, Control(**control))


def outcome(learned):
    """All that was learned, to be compared to the last bit."""
    state = learned.transform.state_dict() if learned.transform else {}
    history = [asdict(record) for record in learned.history]
    return learned.codes, history, {name: t.numpy().tobytes() for name, t in state.items()}


@every(LEARNERS)
def test_a_learner_gives_each_word_a_code_and_a_transform_of_its_shape(kinds, kind, learner_inputs):
    learned = learn(kinds, kind, learner_inputs)
    assert isinstance(learned, LearnedCodes) and len(learned.codes) == WORDS
    if learned.transform is not None:
        composed = learned.transform.compose_all(learned.codes.tensor())
        assert composed.shape == (WORDS, DIM) and composed.isfinite().all()


@every(LEARNERS)
def test_a_learner_gives_the_same_bytes_for_the_same_seed_whatever_was_drawn_before(
    kinds, kind, learner_inputs
):
    given = copy.deepcopy(learner_inputs)
    torch.manual_seed(1)
    first = learn(kinds, kind, learner_inputs)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert outcome(first) == outcome(learn(kinds, kind, learner_inputs))
    assert torch.equal(torch.get_rng_state(), before)
    for field in ("vectors", "counts"):
        assert torch.equal(getattr(given, field), getattr(learner_inputs, field))


@every(LEARNERS)
@pytest.mark.parametrize("stops", [1, 2])
def test_a_learner_that_was_stopped_ends_as_if_it_had_not_been(
    kinds, kind, stops, learner_inputs, tmp_path
):
    expected = outcome(learn(kinds, kind, learner_inputs))
    for _ in range(stops):
        asked = iter([True])
        stopped = learn(
            kinds, kind, learner_inputs,
            checkpoint=tmp_path / "checkpoint", stop=lambda asked=asked: next(asked, False),
        )  # fmt: skip
        assert stopped is None or next(asked, False), "stop was asked and had no say"
    found = learn(kinds, kind, learner_inputs, checkpoint=tmp_path / "checkpoint")
    assert outcome(found) == expected


@every(LEARNERS)
def test_a_learner_without_what_it_needs_says_so_in_one_line(kinds, kind, learner_inputs):
    needs = example(kinds, kind).needs
    assert needs <= {field.name for field in fields(LearnerInputs)}
    for name in needs - {"counts"}:  # all words alike without counts
        with pytest.raises(KDError, match=name) as refused:
            learn(kinds, kind, replace(learner_inputs, **{name: None}))
        one_line(refused)
    for name in needs & {"vectors", "counts"}:
        fewer = {name: getattr(learner_inputs, name)[1:]}
        with pytest.raises(KDError, match=str(WORDS)) as refused:
            learn(kinds, kind, replace(learner_inputs, **fewer))
        one_line(refused)


# Transforms


def transform(kinds, kind, seed=0, **shape) -> Transform:
    settings = example(kinds, kind)
    torch.manual_seed(seed)
    return settings.module.build(settings, **{"K": K, "D": D, "dim": DIM, **shape})


def trained(transform):
    """The same in float64, its running statistics moved."""
    transform = transform.double().train()
    for _ in range(5):
        transform(torch.randint(K, (WORDS, D)))
    return transform


def state(module):
    return {
        name: value.numpy().tobytes()
        for name, value in module.state_dict().items()
        if isinstance(value, torch.Tensor)
    }


@every(TRANSFORMS)
def test_a_transform_starts_with_the_same_bytes_for_the_same_seed(kinds, kind):
    assert state(transform(kinds, kind)) == state(transform(kinds, kind))
    assert state(transform(kinds, kind)) != state(transform(kinds, kind, seed=1))


@every(TRANSFORMS)
def test_a_transform_composes_alike_from_indices_from_weights_and_all_at_once(kinds, kind):
    made = trained(transform(kinds, kind)).eval()
    indices = torch.randint(K, (WORDS, D))
    vectors = made(indices)
    assert vectors.shape == (WORDS, DIM)
    weights = torch.nn.functional.one_hot(indices, K).double()
    torch.testing.assert_close(made.compose_soft(weights), vectors)
    torch.testing.assert_close(made.compose_all(indices, piece=5), vectors)


@every(TRANSFORMS)
def test_a_transform_is_composed_again_from_its_state_its_export_and_its_settings(kinds, kind):
    made, indices = trained(transform(kinds, kind)), torch.randint(K, (WORDS, D))
    first, second, third = (transform(kinds, kind, seed=9).double() for _ in range(3))
    first.load_state_dict(made.state_dict())
    second.load_exported(made.export())
    assert state(first) == state(made)
    for other in (first, second):
        assert torch.equal(other.compose_all(indices), made.compose_all(indices))
    third = kinds.load(kind).build(made.settings, K, D, DIM)
    assert third.state_dict().keys() == made.state_dict().keys()
    assert third.settings == made.settings


@every(TRANSFORMS)
@pytest.mark.parametrize("training", [False, True])
def test_a_transforms_gradients_are_those_of_differences(kinds, kind, training):
    made = trained(transform(kinds, kind)).train(training)
    indices, weights = torch.randint(K, (7, D)), torch.rand(7, D, K, dtype=torch.float64)
    check_gradients(made, lambda: made(indices))
    check_gradients(made, lambda: made.compose_soft(weights))


def check_gradients(module, compose):
    """Gradients of all parameters against differences, in float64."""
    parameters = list(module.parameters())
    assert torch.autograd.gradcheck(lambda *_: compose(), parameters)


@every(TRANSFORMS)
def test_a_transform_of_a_shape_that_cannot_be_is_refused_in_one_line(kinds, kind):
    for shape in ({"K": 1}, {"D": 0}, {"dim": 0}):
        with pytest.raises(KDError, match=f"{next(iter(shape))} must be") as refused:
            transform(kinds, kind, **shape)
        one_line(refused)


# Embeddings

IDS = torch.arange(WORDS)


def embedding_inputs(words=WORDS, **values):
    generator = torch.Generator().manual_seed(5)
    vectors = torch.randn(words, DIM, generator=generator)
    counts = torch.randint(1, 50, (words,), generator=generator)
    codes = Codes.random(words, K, D, seed=3)
    return replace(EmbeddingInputs(codes, vectors, counts, init_scale=0.3), **values)


def embedding(kinds, kind, seed=0, words=WORDS, **inputs):
    settings = example(kinds, kind)
    torch.manual_seed(seed)
    return settings.module.build(settings, words, DIM, embedding_inputs(words, **inputs))


def moved(embedding):
    """The same after some steps of training."""
    optimizer = torch.optim.SGD(embedding.parameters(), lr=0.1)
    target = torch.randn(WORDS, DIM)
    for _ in range(5):
        ids = torch.randint(WORDS, (2 * WORDS,))
        optimizer.zero_grad()
        (embedding(ids) - target[ids]).square().mean().backward()
        optimizer.step()
    return embedding


@every(EMBEDDINGS)
def test_an_embedding_is_called_like_torchs(kinds, kind):
    made = embedding(kinds, kind)
    assert isinstance(made, Embedding)
    assert (made.num_embeddings, made.embedding_dim) == (WORDS, DIM)
    made.eval()
    table = made(IDS)
    for shape in [(), (3,), (2, 3), (2, 3, 4), (0,)]:
        ids = torch.randint(WORDS, shape)
        assert made(ids).shape == (*shape, DIM)
        torch.testing.assert_close(made(ids), table[ids])
        torch.testing.assert_close(made(ids.int()), table[ids])
    settings = example(kinds, kind)
    for asked in (made, settings.module.load(settings, WORDS, DIM, made.export())):
        for outside in (-1, WORDS):
            with pytest.raises(IndexError):
                asked(torch.tensor([0, outside]))


@every(EMBEDDINGS)
def test_an_embedding_starts_and_trains_with_the_same_bytes_for_the_same_seed(kinds, kind):
    first, second = (moved(embedding(kinds, kind)) for _ in range(2))
    assert state(first) == state(second)
    assert state(first) != state(moved(embedding(kinds, kind, seed=1)))


@every(EMBEDDINGS)
def test_an_embedding_learns(kinds, kind):
    made = embedding(kinds, kind).eval()
    before = made(IDS).detach()
    assert before.std() > 0
    assert not torch.equal(moved(made)(IDS), before)


@every(EMBEDDINGS)
def test_an_embedding_is_restored_from_its_state(kinds, kind):
    made = moved(embedding(kinds, kind)).eval()
    other = embedding(kinds, kind, seed=9, restoring=True).eval()
    other.load_state_dict(made.state_dict())
    assert state(other) == state(made)
    assert torch.equal(other(IDS), made(IDS))
    assert torch.equal(copy.deepcopy(made)(IDS), made(IDS))


@every(EMBEDDINGS)
def test_an_embedding_can_be_made_a_table(kinds, kind):
    made, settings = moved(embedding(kinds, kind)), example(kinds, kind)
    stored = settings.module.load(settings, WORDS, DIM, made.export())
    for one in (made.train(), stored):
        training, table = one.training, one.materialise()
        assert one.training == training and not table.weight.requires_grad
        torch.testing.assert_close(table(IDS), one.eval()(IDS))


@every(EMBEDDINGS)
def test_an_embeddings_size_is_that_of_the_file_it_is_exported_to(kinds, kind, tmp_path):
    made, path = moved(embedding(kinds, kind)), tmp_path / "embedding.safetensors"
    save_embedding(path, made, example(kinds, kind))
    file = path.read_bytes()
    (header,) = struct.unpack("<Q", file[:8])
    stored = json.loads(file[8 : 8 + header])
    stored.pop("__metadata__")
    spans = [tensor["data_offsets"] for tensor in stored.values()]
    assert made.size().bits == 8 * sum(end - begin for begin, end in spans)
    assert made.size().bits == 8 * (len(file) - 8 - header)
    assert made.size().parameters == sum(p.numel() for p in made.parameters())


@every(EMBEDDINGS)
def test_what_an_embedding_exports_composes_its_vectors(kinds, kind, tmp_path):
    made, path = moved(embedding(kinds, kind)).double(), tmp_path / "embedding.safetensors"
    settings = example(kinds, kind)
    before = torch.get_rng_state()
    loaded = settings.module.load(settings, WORDS, DIM, made.export()).eval()
    torch.testing.assert_close(loaded(IDS).double(), made.eval()(IDS), rtol=1e-6, atol=1e-6)
    assert loaded.size().bits == made.size().bits
    save_embedding(path, made.float(), settings)
    again = load_embedding(path)
    assert not again.training
    torch.testing.assert_close(again(IDS), made(IDS), rtol=1e-4, atol=1e-5)
    save_embedding(path, again, settings)
    torch.testing.assert_close(load_embedding(path)(IDS), again(IDS), rtol=1e-4, atol=1e-5)
    assert torch.equal(torch.get_rng_state(), before)


@every(EMBEDDINGS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_an_embedding_in_a_model_of_halves_gives_halves_and_keeps_what_is_stored(
    kinds, kind, dtype
):
    made, settings = moved(embedding(kinds, kind)).eval(), example(kinds, kind)
    exported = made.export()
    stored = settings.module.load(settings, WORDS, DIM, exported).eval()
    before = stored(IDS).detach()
    with torch.no_grad():
        assert made.to(dtype)(IDS).dtype == dtype
        half = stored.to(dtype)
        assert half(IDS).dtype == dtype
    torch.testing.assert_close(half(IDS).float(), before, rtol=0.03, atol=0.03)
    for name, tensor in half.export().items():
        exact = isinstance(half, FixedEmbedding) or not tensor.is_floating_point()
        assert not exact or torch.equal(tensor, exported[name]), name
    if isinstance(half, FixedEmbedding):
        assert torch.equal(half.float()(IDS), before)


@every(EMBEDDINGS)
@pytest.mark.parametrize("training", [False, True])
def test_an_embeddings_gradients_are_those_of_differences(kinds, kind, training):
    """Where something is rounded, those of the surrogate that the kind declares."""
    made = moved(embedding(kinds, kind)).double().train(training)
    ids = torch.tensor([3, 1, 3, 7, 20])
    declared = getattr(kinds.load(kind), "surrogate", None)
    if declared is None:
        check_gradients(made, lambda: made(ids))
        return
    if "held" in inspect.signature(declared).parameters:
        declared = partial(declared, held=copy.deepcopy(made))
    check_gradients(made, lambda: declared(made, ids))
    weights, parameters = torch.randn(len(ids), DIM).double(), list(made.parameters())
    found, expected = (
        [g.to_dense() for g in torch.autograd.grad((vectors * weights).sum(), parameters)]
        for vectors in (made(ids), declared(made, ids))
    )
    torch.testing.assert_close(found, expected)


@every(EMBEDDINGS)
def test_an_embedding_without_what_it_needs_says_so_in_one_line(kinds, kind):
    needs = example(kinds, kind).needs
    assert needs <= {field.name for field in fields(EmbeddingInputs)}
    nothing = dict.fromkeys(("codes", "vectors", "counts"))
    given = {name: getattr(embedding_inputs(), name) for name in needs}
    embedding(kinds, kind, **{**nothing, **given})
    for name in needs:
        with pytest.raises(KDError, match=f"needs {name}, got none") as refused:
            embedding(kinds, kind, **{name: None})
        one_line(refused)
        fewer = Codes.random(3, K, D, seed=0) if name == "codes" else given[name][:3]
        with pytest.raises(KDError, match=f"{name} must be .*{WORDS}.*, got .*3") as refused:
            embedding(kinds, kind, **{name: fewer})
        one_line(refused)


@every(EMBEDDINGS)
def test_tensors_that_are_not_of_an_embedding_are_refused_in_one_line(kinds, kind, tmp_path):
    settings = example(kinds, kind)
    tensors = embedding(kinds, kind).export()
    more = embedding(kinds, kind, words=3 * WORDS).export()
    # Where nothing that is stored depends on the words, nothing tells.
    if [tensor.shape for tensor in more.values()] != [t.shape for t in tensors.values()]:
        with pytest.raises(KDError) as refused:
            settings.module.load(settings, 3 * WORDS, DIM, tensors)
        one_line(refused)
    with pytest.raises(KDError) as refused:
        settings.module.load(settings, WORDS, 2 * DIM, tensors)
    one_line(refused)
    for name in tensors:
        others = {other: tensor for other, tensor in tensors.items() if other != name}
        with pytest.raises(KDError, match=name.rpartition(".")[2]) as refused:
            settings.module.load(settings, WORDS, DIM, others)
        one_line(refused)


def test_a_file_that_holds_no_embedding_is_refused_in_one_line(tmp_path):
    path = tmp_path / "file.safetensors"
    with pytest.raises(KDError, match="no such file"):
        load_embedding(path)
    Codes.random(3, K, D, seed=0).save(path)
    with pytest.raises(KDError, match=r"file.safetensors: holds 'codes', not 'embedding'"):
        load_embedding(path)


TIERS = {
    "kind": "tiers",
    "transform": {"kind": "linear"},
    "tiers": [{"words": 9, "D": 3}, {"D": 1}],
}


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"kind": "low_rank", "rank": 0}, "rank must be at least 1, got 0"),
        ({"kind": "low_rank", "rank": 7}, "rank must be at most 6, the size of a vector, got 7"),
        ({"kind": "low_rank"}, "rank is missing"),
        ({"kind": "hashed", "buckets": 0}, "buckets must be at least 1, got 0"),
        ({"kind": "hashed", "buckets": 24}, "buckets must be at most 23, the words, got 24"),
        ({"kind": "uniform", "bits": 0}, "bits must be at least 1, got 0"),
        ({"kind": "uniform", "bits": 9}, "bits must be at most 8, got 9"),
        ({"kind": "uniform", "bits": "four"}, "bits must be an integer, got 'four'"),
        ({"kind": "dpq", "K": 1, "D": 3}, "K must be at least 2, got 1"),
        ({"kind": "dpq", "K": 4, "D": 0}, "D must be at least 1, got 0"),
        ({"kind": "dpq", "K": 4, "D": 4}, "D must divide the vectors' size 6, got 4"),
        ({"kind": "dpq", "K": 4, "D": 3, "variant": "softmax"}, "variant must be"),
        ({"kind": "seeded", "K": 4, "D": 3}, "transform is missing"),
        ({"kind": "seeded", "transform": {"kind": "linear"}, "K": 1, "D": 3}, "K must be at least"),
        (
            {"kind": "seeded", "transform": {"kind": "linear"}, "K": 4, "D": 3, "seed": -1},
            "seed must be at least 0, got -1",
        ),
        ({"kind": "icml2018", "K": 1, "D": 3}, "K must be at least 2, got 1"),
        ({"kind": "icml2018", "K": 4, "D": 3, "distil": 0}, "distil must be above 0, got 0"),
        ({"kind": "icml2018", "K": 4, "D": 3, "code_dim": 0}, "code_dim must be above 0, got 0"),
        ({"kind": "tensor_train", "rank": 0}, "rank must be at least 1, got 0"),
        ({"kind": "tensor_train", "rank": 4}, "rank must be at most 3 for word_factors"),
        ({"kind": "tensor_train", "rank": 1, "cores": 1}, "cores must be at least 2, got 1"),
        (
            {"kind": "tensor_train", "rank": 1, "word_factors": [2, 3, 3]},
            r"the product of word_factors must be at least 23, got \[2, 3, 3\]",
        ),
        (
            {"kind": "tensor_train", "rank": 1, "dim_factors": [2, 2, 2]},
            r"the product of dim_factors must be 6, got \[2, 2, 2\]",
        ),
        (
            {"kind": "tensor_train", "rank": 1, "dim_factors": [2, 3]},
            r"dim_factors must be 3 numbers above 0, got \[2, 3\]",
        ),
        ({**TIERS, "tiers": []}, "tiers must"),
        (
            {**TIERS, "tiers": [{"D": 3}, {"D": 2}]},
            "words must be a number for all but",
        ),
        ({**TIERS, "tiers": [{"words": 4, "D": 3}]}, "words must be null for the last tier, got 4"),
        (
            {**TIERS, "tiers": [{"words": 4, "D": 2}, {"D": 1}]},
            "that of the codes, 3, got 2",
        ),
        (
            {**TIERS, "tiers": [{"words": 23, "D": 3}, {"D": 1}]},
            "less than 23 in all, got 23",
        ),
        (
            {**TIERS, "transform": {"kind": "linear", "code_dim": 2, "normalise": True}},
            "normalise must be false with tiers, got true",
        ),
        ({"kind": "kd", "transform": {"kind": "linear"}, "dropout": 1}, "dropout must be below 1"),
        ({"kind": "kd", "transform": {"kind": "linaer"}}, "did you mean 'linear'"),
        ({"kind": "kd", "transform": {"kind": "linear", "cell": 1}}, "key 'cell' is unknown"),
        ({"kind": "kd", "transform": {"kind": "lstm"}, "fit": {"epochs": 0}}, "fit.epochs must be"),
    ],
)
def test_an_embedding_that_cannot_be_is_refused_in_one_line(section, message):
    with pytest.raises(KDError, match=message) as refused:
        settings = EMBEDDINGS.parse(section, "embeddings.mine")
        settings.module.build(settings, WORDS, DIM, embedding_inputs())
    one_line(refused)


# A stranger's kind

STRANGERS = '''
"""Rows that are multiples of one vector."""

import torch
from pydantic import Field
from torch import nn

from kdcore.embeddings import Embedding, stored_tensor
from kdcore.kinds import KindSettings

NUMERICS = 1
EXAMPLE = {"start": 0.5}


class Settings(KindSettings):
    """The start."""

    start: float = Field(1.0, gt=0, description="numbers start uniform from 0 to this")


class Multiples(Embedding):
    """v_s = a_s u."""

    def __init__(self, a, u):
        super().__init__()
        self.num_embeddings, self.embedding_dim = len(a), len(u)
        self.a, self.u = nn.Parameter(a), nn.Parameter(u)

    def forward(self, ids):
        return nn.functional.embedding(ids, self.a[:, None]) * self.u

    def export(self):
        return {"a": self.a.detach(), "u": self.u.detach()}


def build(settings, words, dim, inputs):
    """Random numbers."""
    return Multiples(torch.rand(words) * settings.start, torch.rand(dim))


def load(settings, words, dim, tensors):
    """What was exported."""
    return Multiples(stored_tensor(tensors, "a", words), stored_tensor(tensors, "u", dim))
'''


def test_a_strangers_kind_is_one_file_and_is_held_to_the_same_promises(tmp_path):
    library = Path(import_module("kdcore").__file__).parent
    shutil.copytree(library, tmp_path / "kdcore", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "kdcore/embeddings/multiples.py").write_text(STRANGERS, encoding="utf-8")
    (tmp_path / "tests").mkdir()
    shutil.copy(__file__, tmp_path / "tests")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"),
            *("-k", "multiples or unknown_kind", "--rootdir", str(tmp_path)),
        ],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)}, text=True,
        capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    passed = int(re.search(r"(\d+) passed", done.stdout)[1])
    assert passed > 15
