"""The traces: every kind for some 20 steps, on tiny data."""

import hashlib
import pkgutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, get_args
from unittest import mock

import numpy as np
import torch
from pydantic import BaseModel
from pydantic.fields import FieldInfo

import kdcore
import kdlab
from kdcore.kinds import Kinds
from kdlab.language_model_settings import LanguageModelSettings

from . import adapters
from .store import TOLERANCE

Values = dict[str, Any]


@dataclass(frozen=True)
class Trace:
    """One trace.

    Attributes:
        compute: makes the values.
        kinds: versions that the values belong to; the first is of what is traced.
        tolerance: see `store.TOLERANCE`.
    """

    compute: Callable[[], Values]
    kinds: tuple[str, ...]
    tolerance: float = TOLERANCE


def with_numpys_dropout(compute: Callable[[], Values]) -> Values:
    """Values whose dropout NumPy draws: what PyTorch draws depends on how it was built."""
    random = np.random.RandomState(15)

    def dropout(
        x: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> torch.Tensor:
        if not training or p == 0:
            return x
        kept = torch.from_numpy(random.random_sample(tuple(x.shape)) >= p)
        return x * kept.to(x.dtype) / (1 - p)

    with mock.patch("torch.nn.functional.dropout", dropout):
        return compute()


# Words, size of a vector, shape of a code.
N, DIM, K, D = 80, 8, 5, 3


def vectors(n: int = N, seed: int = 1) -> torch.Tensor:
    """Vectors around a few centres; the generator is the one that numpy keeps as it is."""
    random = np.random.RandomState(seed)
    centres = random.standard_normal((12, DIM))
    noise = random.standard_normal((n, DIM))
    scale = np.linspace(0.5, 2.0, DIM)
    return torch.from_numpy((centres[np.arange(n) % 12] + 0.3 * noise) * scale).float()


def counts() -> torch.Tensor:
    """How often each word occurs: Zipf's law."""
    return 1000.0 / torch.arange(1, N + 1)


def codes():
    """Fixed codes of the words."""
    return adapters.Codes(np.random.RandomState(2).randint(K, size=(N, D)), K)


def numbers(values: torch.Tensor, first: int = DIM) -> list[float]:
    """The norm of a tensor and its first values."""
    values = values.detach().double().flatten()
    return [float(values.norm()), *values[:first].tolist()]


def gradients(module: torch.nn.Module) -> list[float]:
    """The norms of the parameters' gradients, in rising order; clears them."""
    norms = sorted(float(p.grad.double().norm()) for p in module.parameters() if p.grad is not None)
    module.zero_grad(set_to_none=True)
    return norms


# Learners

LINEAR = {"kind": "linear"}
PROJECTED = {"kind": "linear", "code_dim": 6}
LSTM = {"kind": "lstm", "code_dim": 4, "init_scale": 1.0}
PRINTED = {**LSTM, "cell": "printed"}


def algorithm_1(transform: dict, **settings: Any) -> dict:
    """Settings of Algorithm 1."""
    return {
        "kind": "straight_through", "K": K, "D": D, "transform": transform, "epochs": 20,
        "batch_size": 20, "temperature": {"every": 4}, **settings,
    }  # fmt: skip


STRAIGHT_THROUGH = {
    "linear": algorithm_1(LINEAR),
    "projected": algorithm_1(PROJECTED),
    "lstm-counted": algorithm_1(LSTM, learning_rate=0.005),
    "lstm-printed": algorithm_1(PRINTED, learning_rate=0.005),
    "soft": algorithm_1(LINEAR, estimator="soft"),
    "constant-temperature": algorithm_1(LINEAR, temperature={"decay_rate": 0.0}),
    "standardised": algorithm_1(LINEAR, standardise=True),
    "temperature-by-step": algorithm_1(
        LINEAR, temperature={"T0": 2.0, "decay_rate": 0.5, "unit": "step", "every": 8}
    ),
    "one-codebook": algorithm_1(LINEAR, K=12, D=1, batch_size=30, logit_scale=0.05, code_rate=0.2),
}
REFINE = {"kind": "refine", "rounds": 10, "sweeps": 2, "noise": 0.1, "perturbations": 0}
LEARNED_AND_REFINED = {
    "lstm-refined": algorithm_1(LSTM),
    "standardised-refined": algorithm_1(LINEAR, standardise=True),
}


RESIDUAL = {
    "residual": {"kind": "residual", "K": K, "D": D, "beam": 2},
    "residual-groups": {"kind": "residual", "K": K, "D": 4, "groups": 2, "count_power": 1.0},
    "residual-sample": {"kind": "residual", "K": K, "D": D, "sample": 60, "standardise": True},
}


def learned(result: Any) -> Values:
    """What is traced of learned codes."""
    values: Values = {}
    for field in ("temperature", "noise", "loss", "error", "entropy"):
        found = [float(getattr(r, field)) for r in result.history if hasattr(r, field)]
        if found:
            values[field] = found
    values["codes"] = result.codes.tensor().tolist()
    if result.transform is not None:
        table = adapters.compose_all(result.transform, result.codes.tensor())
        values["composed"] = numbers(table)
    return values


# With seed 3 the last bits of a float decide an index. The seeds of all traces were tried: vectors
# that differ by 1e-6 lead to the same codes.
SEEDS = {"constant-temperature": 21}


def straight_through(name: str) -> Values:
    """Algorithm 1."""
    found = adapters.learn(STRAIGHT_THROUGH[name], vectors(), seed=SEEDS.get(name, 3))
    return learned(found)


def off_centre() -> Values:
    """Vectors whose mean outweighs their spread: the linear transform takes it in."""
    return learned(adapters.learn(algorithm_1(LINEAR), vectors() + 5.0, seed=3))


REFINED = {
    "refine": {"weighted": False},
    "refine-counts": {"weighted": True},
    "refine-counts-linearly": {"weighted": True, "count_power": 1.0},
    "refine-perturbed": {"weighted": True, "perturbations": 4, "noise": 0.2},
}


def refine(weighted: bool, **settings: Any) -> Values:
    """Codes of Algorithm 1, refined."""
    start = adapters.learn(algorithm_1(LINEAR), vectors(), seed=3).codes
    weights = counts() if weighted else None
    return learned(
        adapters.learn({**REFINE, **settings}, vectors(), seed=3, counts=weights, start=start)
    )


def residual(name: str) -> Values:
    """k-means of what is left."""
    return learned(adapters.learn(RESIDUAL[name], vectors(), seed=3, counts=counts()))


def learn_and_refine(settings: dict) -> Values:
    """`learn_codes` doing both in one call."""
    result = adapters.learn_codes(vectors(), settings, REFINE, counts=counts(), seed=31)
    values = learned(result)
    return {name: values[name] for name in ("error", "codes", "composed")}


FAISS = {
    "faiss": {"kind": "faiss", "K": 4, "D": 4, "groups": 2, "beam": 3},
    "faiss-local-search": {"kind": "faiss", "quantizer": "local_search", "K": 4, "D": 4},
}


def faiss(name: str) -> Values:
    return learned(adapters.learn(FAISS[name], vectors(), seed=3))


def random_codes() -> Values:
    result = adapters.learn({"kind": "random", "K": K, "D": D}, None, seed=4, words=N)
    # Drawn, not rounded: exact.
    return {"drawn": result.codes.tensor().tolist()}


GUMBEL = {
    "kind": "gumbel", "K": K, "D": D, "epochs": 10, "batch_size": 20, "learning_rate": 0.02,
    "init_scale": 0.5,
}  # fmt: skip


def gumbel() -> Values:
    return learned(adapters.learn(GUMBEL, vectors(), seed=3))


GRID = {"kind": "grid", "rounds": 5}


def grid() -> Values:
    return learned(adapters.learn(GRID, vectors(), seed=3, counts=counts()))


def encode(transform: dict) -> Values:
    """Codes for further vectors."""
    decoder = adapters.learn(algorithm_1(transform), vectors(), seed=3).transform
    found = adapters.encode(vectors(20, seed=5), decoder, rounds=4, seed=6)
    return {
        "codes": found.tensor().tolist(),
        "composed": numbers(adapters.compose_all(decoder, found.tensor())),
    }


def compressed(form: str) -> Values:
    """A table in a form of a quarter of its size."""
    weights = 1000.0 / torch.arange(1, 301)
    found = adapters.compress_table(vectors(300), forms=[form], ratio=4, counts=weights)
    with torch.no_grad():
        composed = found.embedding(torch.arange(300))
    return {"error": found.how["error"], "composed": numbers(composed)}


# Transforms

TRANSFORMS = {
    "linear": LINEAR,
    "linear-projected": PROJECTED,
    "linear-normalised": {**PROJECTED, "normalise": True},
    "product": {"kind": "product"},
    "lstm-counted": LSTM,
    "lstm-counted-normalised": {**LSTM, "normalise": True},
    "lstm-printed": PRINTED,
    "lstm-printed-normalised": {**PRINTED, "normalise": True},
}


def transform(settings: dict) -> Values:
    torch.manual_seed(7)
    made = adapters.transform(settings, K, D, DIM)
    indices, target = codes().tensor(), vectors()
    values: Values = {"parameters": sum(p.numel() for p in made.parameters())}
    composed = made(indices[:30])
    values["forward"] = numbers(composed)
    (composed - target[:30]).square().mean().backward()
    values["forward gradients"] = gradients(made)

    random = np.random.RandomState(8)
    counted = torch.from_numpy(random.randint(1, 4, size=30)).float().reciprocal()
    factors = torch.from_numpy(random.randint(0, 2, size=(30, D)) * 2.0).float()
    composed = adapters.compose(made, indices[30:60], counted, factors)
    values["weighted"] = numbers(composed)
    (composed - target[30:60]).square().mean().backward()
    values["weighted gradients"] = gradients(made)

    choice = torch.from_numpy(random.dirichlet(np.ones(K), size=(30, D))).float().requires_grad_()
    composed = adapters.compose_soft(made, choice)
    values["soft"] = numbers(composed)
    (composed - target[:30]).square().mean().backward()
    values["soft gradients"] = [*gradients(made), *numbers(choice.grad)]

    made(indices[:1])  # one word has no statistics of its own
    running = [b for b in made.buffers() if b.is_floating_point()]
    if running:
        values["running"] = [number for b in running for number in b.tolist()]
    values["table"] = numbers(adapters.compose_all(made, indices))
    return values


def fit(settings: dict) -> Values:
    """The transform alone, fitted to vectors."""
    torch.manual_seed(9)
    made = adapters.transform(settings, K, D, DIM)
    error = adapters.fit_transform(
        made, codes(), vectors(), epochs=10, batch_size=20, learning_rate=0.02
    )
    return {
        "error": error,
        "composed": numbers(adapters.compose_all(made, codes().tensor())),
    }


# Embeddings

FIT = {"epochs": 5, "batch_size": 20, "learning_rate": 0.02}
LINEAR_DROPOUT = {
    "kind": "kd", "transform": {**PROJECTED, "normalise": True}, "gradient_scale": 0.1,
    "dropout": 0.2,
}  # fmt: skip
LSTM_FITTED = {
    "kind": "kd", "transform": {**LSTM, "normalise": True}, "gradient_scale": 0.1, "fit": FIT,
}  # fmt: skip
ICML_2018 = {"kind": "icml2018", "K": 5, "D": 3, "code_dim": 6, "distil": 10.0}
DPQ_VQ = {"kind": "dpq", "K": 5, "D": 4, "variant": "vq"}
REENCODED = {"kind": "reencoded", "transform": LINEAR, "every": 4}
DISTILLED = {"kind": "distilled", "weight": 10.0, "of": {"kind": "kd", "transform": LINEAR}}
EMBEDDINGS = {
    "table": {"kind": "table"},
    "kd-linear": {"kind": "kd", "transform": LINEAR},
    "kd-linear-normalised": {"kind": "kd", "transform": {**PROJECTED, "normalise": True}},
    "kd-linear-dropout": LINEAR_DROPOUT,
    "kd-linear-fitted": {"kind": "kd", "transform": LINEAR, "fit": FIT},
    "kd-linear-frozen": {"kind": "kd", "transform": LINEAR, "fit": FIT, "trained": False},
    "kd-lstm": {"kind": "kd", "transform": LSTM},
    "kd-lstm-printed": {"kind": "kd", "transform": PRINTED, "gradient_scale": 0.5},
    "kd-lstm-fitted": LSTM_FITTED,
    "kd-lstm-dropout": {"kind": "kd", "transform": LSTM, "dropout": 0.2},
    "seeded": {"kind": "seeded", "K": 5, "D": 3, "transform": LINEAR, "seed": 2},
    "tiers": {
        "kind": "tiers",
        "transform": LINEAR,
        "tiers": [{"words": 30, "D": 3}, {"D": 2}],
    },
    "low-rank": {"kind": "low_rank", "rank": 3},
    "hashed": {"kind": "hashed", "buckets": 9},
    "tensor-train": {"kind": "tensor_train", "rank": 3},
    "uniform": {"kind": "uniform", "bits": 4},
    "rounded": {"kind": "rounded", "bits": 4, "of": {"kind": "kd", "transform": LINEAR}},
    "rounded-through": {
        "kind": "rounded",
        "bits": 3,
        "scales": "column",
        "through": True,
        "of": {"kind": "low_rank", "rank": 3},
    },
    "dpq-sx": {"kind": "dpq", "K": 5, "D": 2},
    "dpq-sx-own-books": {"kind": "dpq", "K": 5, "D": 2, "shared": False},
    "dpq-vq": DPQ_VQ,
    "icml2018": ICML_2018,
    "icml2018-without-h": {"kind": "icml2018", "K": 5, "D": 3, "code_dim": None},
}


def looked_up(made: torch.nn.Module) -> Values:
    ids = torch.from_numpy(np.random.RandomState(11).randint(N, size=(6, 5)))
    ids[3:] = ids[:3]  # words that stand in several places
    values: Values = {}
    made.train()
    for name in ("first", "second"):
        given = made(ids)
        if given.requires_grad:
            (given - vectors()[ids]).square().mean().backward()
        values[name] = [*numbers(given), *gradients(made)]
    made.eval()
    with torch.no_grad():
        values["eval"] = numbers(made(torch.arange(N)))
    return values


def embedding(settings: dict) -> Values:
    torch.manual_seed(10)
    return looked_up(adapters.embedding(settings, N, DIM, codes(), vectors(), init_scale=0.1))


def padded() -> Values:
    """A word without a vector."""
    torch.manual_seed(10)
    made = adapters.KDEmbedding(
        codes(), DIM, adapters.transform({**PROJECTED, "normalise": True}, K, D, DIM),
        padding_idx=int(np.random.RandomState(11).randint(N)), dropout=0.2,
    )  # fmt: skip
    return looked_up(made)


# The language model

MODEL = {
    "hidden": DIM, "layers": 2, "init_scale": 0.1, "dropout": 0.2, "word_dropout": 0.0,
    "batch_size": 4, "bptt": 5, "learning_rate": 1.0, "full_rate_epochs": 1, "decay": 0.5,
    "epochs": 2, "max_grad_norm": 0.5,
}  # fmt: skip
TRAININGS = {
    "table": ({"kind": "table"}, {"word_dropout": 0.2}),
    "kd-linear-dropout": (LINEAR_DROPOUT, {}),
    "kd-lstm-fitted": (LSTM_FITTED, {"dropout": 0.0}),
    "dpq-vq": (DPQ_VQ, {"dropout": 0.0}),
    "icml2018": (ICML_2018, {"dropout": 0.0}),
    "reencoded": (REENCODED, {"dropout": 0.0}),
    "distilled": (DISTILLED, {"dropout": 0.0}),
}


def text():
    """A corpus of N words, `<eos>` among them, every one in the training split."""
    random = np.random.RandomState(12)
    words = [f"w{i:02}" for i in range(N - 1)]
    order = np.concatenate([random.permutation(N - 1), random.zipf(1.5, 300) % (N - 1)])
    lines = [" ".join(words[i] for i in order[at : at + 9]) for at in range(0, len(order), 9)]
    return adapters.Corpus.from_lines({"train": lines, "valid": lines[10:20], "test": lines[20:30]})


def training(settings: dict, changed: dict) -> Values:
    model_settings = {**MODEL, **changed}
    corpus = text()
    assert len(corpus.words) == N

    def made() -> tuple[torch.nn.Module, Any]:
        torch.manual_seed(13)
        embedding = adapters.embedding(settings, N, DIM, codes(), vectors(), init_scale=0.1)
        return adapters.language_model(embedding, N, model_settings)

    values: Values = {}
    model, model_settings_ = made()
    model.train()
    steps, batch = model_settings["bptt"], model_settings["batch_size"]
    data = adapters.batches(corpus.train, batch)
    state = model.initial_state(batch)
    loss, _ = model.loss(data[:steps], data[1 : 1 + steps], state)
    loss.backward()
    values["gradients"] = gradients(model)
    losses = []
    for step in range(20):
        first = step * steps % (len(data) - steps - 1)
        ids, targets = data[first : first + steps], data[first + 1 : first + 1 + steps]
        loss, state = adapters.training_step(model, ids, targets, state, 1.0, 0.5)
        losses.append(float(loss))
    values["losses"] = losses
    values["state"] = [*numbers(state[0]), *numbers(state[1])]

    model, model_settings_ = made()
    with tempfile.TemporaryDirectory() as folder:
        records = adapters.train(model, corpus, model_settings_, Path(folder) / "checkpoint")
    eos = corpus.words.index("<eos>")
    values["train_ppl"] = [record.train_ppl for record in records]
    values["valid_ppl"] = [record.valid_ppl for record in records]
    values["test_ppl"] = adapters.perplexity(model, corpus.test, eos)
    values["weights"] = sorted(float(p.detach().double().norm()) for p in model.parameters())
    return values


# Clustering, texts, files


def clustering(arm: str) -> Values:
    """An arm of Figure 3 (a, b)."""
    clusters = adapters.make_clusters(nodes=200, clusters=10, dim=5, spread=0.1, seed=14)
    points = adapters.run_arm(arm, clusters, K=10, epochs=20, every=2, seed=15)
    return {
        field: [float(getattr(point, field)) for point in points]
        for field in ("temperature", "loss", "nmi")
    }


def generated(topics: dict | None) -> Values:
    corpus = adapters.generated_text(tokens=2000, seed=1, topics=topics)
    return {
        "digest": corpus.digest,
        "words": len(corpus.words),
        "tokens": [len(corpus.train), len(corpus.valid), len(corpus.test)],
        "ids": corpus.train[:20].tolist(),
    }


def codes_file(K: int) -> Values:
    """The file of codes, byte for byte."""
    table = np.random.RandomState(16).randint(K, size=(11, 3))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "codes.safetensors"
        adapters.Codes(table, K).save(path)
        return {
            "packed": adapters.Codes(table, K).packed.tolist(),
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }


def drawn_codes() -> Values:
    return {"drawn": adapters.Codes.random(30, 7, 4, 17).tensor().tolist()}


# Defaults: an address leaves them out, so one that changes has to be noticed.


def defaults(settings: type[BaseModel]) -> Values:
    """The defaults of settings and of the sections in them, by name."""
    found = {}
    for name, field in settings.model_fields.items():
        if not field.is_required():
            found[name] = _plain(field.get_default(call_default_factory=True))
        for section in _sections(field):
            found |= {f"{name}.{key}": value for key, value in defaults(section).items()}
    return found


def _sections(field: FieldInfo) -> Iterator[type[BaseModel]]:
    for part in (field.annotation, *get_args(field.annotation)):
        if isinstance(part, type) and issubclass(part, BaseModel) and part.model_fields:
            yield part


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        # What is at its own default is pinned with the class that has it.
        return value.model_dump(mode="json", exclude_defaults=True)
    return value


def kinds() -> Iterator[Kinds]:
    """All folders of kinds but that of figures, of which no address depends."""
    for of in (kdcore, kdlab):
        for found in pkgutil.iter_modules(of.__path__, f"{of.__name__}."):
            if found.ispkg and found.name != "kdlab.figures":
                values = list(vars(import_module(found.name)).values())
                yield from (v for v in values if isinstance(v, Kinds) and v.package == found.name)


# The table

LEARNER, TRANSFORM, EMBEDDING = "kdcore.learners.", "kdcore.transforms.", "kdcore.embeddings."
TRAINING = "kdlab.experiment.TRAINING_NUMERICS"
GENERATED = ("kdlab.texts.generated.NUMERICS",)


def _versions(folder: str, settings: dict) -> tuple[str, ...]:
    """The versions behind settings: their own kind's, and the transform's."""
    own = (f"{folder}{settings['kind']}.NUMERICS",)
    inner = settings.get("transform")
    return own + (_versions(TRANSFORM, inner) if inner else ())


def _learners() -> Iterator[tuple[str, Trace]]:
    algorithm = _versions(LEARNER, algorithm_1(LINEAR))
    refinement = (*_versions(LEARNER, REFINE), *algorithm)
    for name, settings in STRAIGHT_THROUGH.items():
        versions = _versions(LEARNER, settings)
        yield f"learners/{name}", Trace(partial(straight_through, name), versions)
    yield "learners/off-centre", Trace(off_centre, algorithm)
    for name, options in REFINED.items():
        yield f"learners/{name}", Trace(partial(refine, **options), refinement)
    for name, settings in LEARNED_AND_REFINED.items():
        versions = (*_versions(LEARNER, REFINE), *_versions(LEARNER, settings))
        yield f"learners/{name}", Trace(partial(learn_and_refine, settings), versions)
    for name, settings in RESIDUAL.items():
        trace = Trace(partial(residual, name), _versions(LEARNER, settings))
        yield f"learners/{name}", trace
    random = (f"{LEARNER}random.NUMERICS",)
    yield "learners/random", Trace(random_codes, random)
    yield "learners/grid", Trace(grid, (f"{LEARNER}grid.NUMERICS",))
    for name, settings in FAISS.items():
        yield f"learners/{name}", Trace(partial(faiss, name), _versions(LEARNER, settings))
    yield "learners/gumbel", Trace(gumbel, (f"{LEARNER}gumbel.NUMERICS",))
    yield "codes/random", Trace(drawn_codes, random)
    for size in (2, 5, 64, 1000):
        yield f"codes/file-{size}", Trace(partial(codes_file, size), ())
    for name, inner in (("linear", LINEAR), ("projected", PROJECTED)):
        versions = _versions(LEARNER, algorithm_1(inner))
        yield f"encoding/{name}", Trace(partial(encode, inner), versions)
    # Of forms with more positions a group, the last bits of a float decide which code is found.
    for form in ("rounding", "low-rank", "product"):
        trace = Trace(partial(compressed, form), ("kdcore.compressing.NUMERICS",))
        yield f"compressing/{form}", trace
    versions = ("kdlab.clustering.NUMERICS", *algorithm)
    for arm in ("ste+schedule", "ste+constant", "soft+schedule"):
        yield f"clustering/{arm}", Trace(partial(clustering, arm), versions)


def _models() -> Iterator[tuple[str, Trace]]:
    for name, settings in TRANSFORMS.items():
        versions = _versions(TRANSFORM, settings)
        yield f"transforms/{name}", Trace(partial(transform, settings), versions)
        yield f"transforms/{name}-fitted", Trace(partial(fit, settings), versions)
    for name, settings in EMBEDDINGS.items():
        compute = partial(with_numpys_dropout, partial(embedding, settings))
        yield f"embeddings/{name}", Trace(compute, _versions(EMBEDDING, settings))
    versions = _versions(EMBEDDING, LINEAR_DROPOUT)
    yield "embeddings/kd-padded", Trace(partial(with_numpys_dropout, padded), versions)
    for name, (settings, changed) in TRAININGS.items():
        compute = partial(with_numpys_dropout, partial(training, settings, changed))
        yield f"training/{name}", Trace(compute, (TRAINING, *_versions(EMBEDDING, settings)))


def _settings() -> Iterator[tuple[str, Trace]]:
    for folder in kinds():
        for name in folder.names():
            module = folder.load(name)
            version = f"{module.__name__}.NUMERICS"
            trace = Trace(partial(defaults, module.Settings), (version,), tolerance=0.0)
            yield f"settings/{module.__name__}", trace
    trace = Trace(partial(defaults, LanguageModelSettings), (TRAINING,), tolerance=0.0)
    yield "settings/kdlab.language_model_settings", trace


TRACES: dict[str, Trace] = {
    **dict(_learners()),
    **dict(_models()),
    "texts/generated": Trace(partial(generated, None), GENERATED),
    "texts/generated-topics": Trace(partial(generated, {"count": 3, "words": 10}), GENERATED),
    **dict(_settings()),
}
