"""A preset, `config/<name>.yaml`: the typed schema, and the runs that it asks for.

Everything that varies has a name here: language models, codes, embeddings, methods (a pair of the
two), tables, sweeps, figures. `config/README.md` and `config/schema.json` are generated from it.
"""

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from kdcore.compressing import FORMS, FormName
from kdcore.compressing import NUMERICS as COMPRESSION_NUMERICS
from kdcore.embeddings import EMBEDDINGS
from kdcore.errors import KDError
from kdcore.files import sha256
from kdcore.kinds import KindSettings, Section, unknown
from kdcore.learners import LEARNERS
from kdcore.transforms import TRANSFORMS
from kdlab.addresses import Run, identity
from kdlab.clustering_settings import ClusteringSettings
from kdlab.figures import FIGURES, FigureSettings
from kdlab.installed import InstalledFile
from kdlab.language_model_settings import LanguageModelSettings
from kdlab.texts import TEXTS, TextSettings
from kdlab.vectors import VECTORS, OfModel, VectorSettings

# Version of what training a language model computes; golden traces guard it.
TRAINING_NUMERICS = 1
NAME = r"^[a-z0-9][a-z0-9_.-]*$"
Name = Annotated[str, Field(pattern=NAME)]
# A section as it stands in the file; checked where it is resolved.
Raw = dict[str, Any]


class Model(LanguageModelSettings):
    """A language model and how it is trained, and what is particular to it."""

    embeddings: dict[Name, Raw] = Field(
        {}, description="settings of embeddings that this model trains otherwise, by entry"
    )
    vectors: Raw = Field(
        {}, description="settings of the preset's `vectors` that are otherwise for this model"
    )

    @property
    def settings(self) -> LanguageModelSettings:
        """The language model's own settings."""
        names = LanguageModelSettings.model_fields
        return LanguageModelSettings(**{name: getattr(self, name) for name in names})


class Style(Section):
    """How a method is drawn."""

    color: str = Field("grey", description="a colour of Okabe and Ito's palette, or #rrggbb")
    line: Literal["solid", "dashed", "dotted", "dashdot"] = Field(
        "solid", description="line of its learning curve"
    )


class Method(Section):
    """A row: an embedding, and the codes that it is composed from."""

    label: str = Field(description="what tables and figures call it")
    embedding: str = Field(description="entry of `embeddings`")
    codes: str | None = Field(None, description="entry of `codes`; null: it has none")
    vectors: Raw | None = Field(
        None,
        description="settings of the vectors that its codes are learned from, where they are "
        "otherwise than the model's",
    )
    family: str | None = Field(
        None, description="methods that the frontier joins by a line; null: it is alone"
    )
    style: Style = Field(default_factory=Style, description="how it is drawn")


class Row(Section):
    """A row of a table."""

    method: str = Field(description="entry of `methods`")
    seeds: int = Field(1, gt=0, description="runs with seeds 1 … n")
    models: list[str] | None = Field(None, description="models with this row; null: all")

    @model_validator(mode="before")
    @classmethod
    def _a_name_alone(cls, values: Any) -> Any:
        return {"method": values} if isinstance(values, str) else values


class Table(Section):
    """A table: language models, and the methods that each is trained with."""

    title: str = Field(description="its caption")
    models: list[str] = Field(min_length=1, description="entries of `models`")
    rows: list[Row] = Field(min_length=1, description="rows, in order")
    score: Literal["test", "valid"] = Field(
        "test", description="perplexity by which rows are judged and shown"
    )
    paper: dict[str, str] = Field(
        {}, description="models beside which the paper's numbers stand: the paper's name of each"
    )

    def rows_of(self, model: str) -> list[Row]:
        """The rows of a model."""
        return [row for row in self.rows if row.models is None or model in row.models]


class Sweep(Section):
    """One method trained with one setting after another varied, the others held."""

    model: str = Field(description="entry of `models`")
    method: str = Field(description="entry of `methods`")
    vary: dict[str, list[int | float]] = Field(
        min_length=1,
        description="values by setting, written as `codes.<setting>` or `embedding.<setting>`",
    )
    seeds: int = Field(1, gt=0, description="runs with seeds 1 … n")


class Table2(Section):
    """Table 2: words that share a code."""

    vectors: Annotated[VectorSettings, VECTORS] = Field(
        description="where the word vectors come from"
    )
    codes: str = Field(description="entry of `codes`")


class Reconstruction(Section):
    """Word vectors compressed to several forms and sizes, without a language model."""

    title: str = Field(description="what figures call the vectors")
    vectors: Annotated[VectorSettings, VECTORS] = Field(description="where they come from")
    ratios: list[float] = Field(
        min_length=1, description="the table's bits in float32 over those that are stored, at least"
    )
    forms: list[FormName] = Field(list(FORMS), min_length=1, description="forms that are compared")
    seed: int = Field(1, description="of every random choice")
    similarity: InstalledFile | None = Field(
        None,
        exclude_if=lambda pairs: pairs is None,  # results that have none stay as they are
        description="a text file of pairs of words and how alike people find them, whose rank "
        "correlation with cosines is measured, of vectors with words; null: it is not",
    )


class Goal(Section):
    """What an input embedding of a size is to reach."""

    ratio: float = Field(gt=1, description="so many times fewer bits than the full table, or more")
    test_ppl: float = Field(gt=1, description="test perplexity to stay below")


class FrontierClaims(Section):
    """What is claimed of the frontier: the goals of ours, and that no other method is better."""

    families: list[str] = Field(
        min_length=1,
        description="families of methods that are ours; claims are called by the first",
    )
    models: list[str] = Field(min_length=1, description="models whose rows are compared")
    goals: list[Goal] = Field(min_length=1, description="goals, one for each size")
    seeds: int = Field(3, gt=0, description="seeds of a row without which a goal stays open")


class Claims(Section):
    """What the paper states of Table 1, in terms of this preset's names."""

    table: str = Field("table1", description="the table that is judged")
    conventional: str = Field(description="method with the full table")
    random: list[str] = Field(description="methods with random codes")
    learned: list[str] = Field(description="methods with learned codes")
    sweep: str | None = Field(None, description="the sweep over K and D")
    frontier: FrontierClaims | None = Field(None, description="beyond the paper: the frontier")


class Compute(Section):
    """Where and how models are trained; results name it, addresses do not."""

    device: Literal["auto", "cpu", "cuda"] = Field(
        "cpu",
        description="device of the language models; auto is a GPU where PyTorch sees one, and not "
        "for clusters",
    )
    bfloat16: list[str] = Field(
        [], description="models that are trained in bfloat16 where the device has it"
    )
    threads: int = Field(1, gt=0, description="CPU threads of one job")
    checkpoint_seconds: float = Field(60.0, gt=0, description="time between checkpoints")


class Preset(Section):
    """One configuration of the whole pipeline."""

    data_mirror: str | None = Field(
        None,
        description="local folder to take data from instead of the network, with ptb/ and glove/; "
        "the environment variable KDCORE_DATA_MIRROR does the same",
    )
    partial: bool = Field(
        False,
        strict=False,
        description="draw tables and figures from what has been measured so far and leave the rest "
        "empty, instead of training the language models that are missing",
    )
    published: bool = Field(
        True,
        strict=False,
        description="take a run that is in measurements/ from there; false computes it here",
    )
    text: Annotated[TextSettings | None, TEXTS] = Field(
        None, description="the text; null where there are no language models"
    )
    vectors: Annotated[VectorSettings, VECTORS] = Field(
        default_factory=lambda: VECTORS.parse({"kind": "model"}),
        description="the pretrained vectors that codes are learned from",
    )
    models: dict[Name, Model] = Field(
        {}, description="language models; none where word vectors are all that there is"
    )
    codes: dict[Name, Annotated[KindSettings, LEARNERS]] = Field(
        {}, description="how codes are made"
    )
    embeddings: dict[Name, Annotated[KindSettings, EMBEDDINGS]] = Field(
        {}, description="what the language model looks words up in"
    )
    methods: dict[Name, Method] = Field(
        {}, description="rows: an embedding, and the codes it is composed from"
    )
    tables: dict[Name, Table] = Field({}, description="tables")
    sweeps: dict[Name, Sweep] = Field({}, description="sweeps over one setting at a time")
    clustering: ClusteringSettings | None = Field(None, description="Figure 3, panels a and b")
    table2: Table2 | None = Field(None, description="Table 2")
    reconstructions: dict[Name, Reconstruction] = Field(
        {}, description="word vectors compressed without a language model"
    )
    claims: Claims | None = Field(None, description="what is checked of the paper's claims")
    figures: dict[Name, Annotated[FigureSettings, FIGURES]] = Field({}, description="figures")
    compute: Compute = Field(
        default_factory=Compute, description="where and how models are trained"
    )

    @model_validator(mode="before")
    @classmethod
    def _figures_by_kind(cls, values: Any) -> Any:
        """A list of figures, each a kind's name or a section with a `name`, is taken too."""
        if isinstance(values, Mapping) and isinstance(values.get("figures"), list):
            figures = {}
            for entry in values["figures"]:
                section = {"kind": entry} if isinstance(entry, str) else dict(entry)
                figures[section.pop("name", section.get("kind"))] = section
            return {**values, "figures": figures}
        return values

    @model_validator(mode="after")
    def _models_have_what_they_need(self) -> "Preset":
        needed = ["text", "embeddings", "methods"]
        if not self.models:
            needed = [] if self.clustering or self.table2 or self.reconstructions else ["models"]
        for name in needed:
            if not getattr(self, name):
                raise KDError(f"{name} is missing")
        return self

    @model_validator(mode="after")
    def _names_exist(self) -> "Preset":
        for where, noun, name in self._references():
            known: Mapping[str, Any] = getattr(self, noun)
            if name not in known:
                raise KDError(f"{where}: " + unknown(f"entry of {noun}", name, list(known)))
        return self

    def _references(self) -> Iterator[tuple[str, str, str]]:
        """Where a name stands, the section that must have it, and the name."""
        for name, method in self.methods.items():
            yield f"methods.{name}.embedding", "embeddings", method.embedding
            if method.codes is not None:
                yield f"methods.{name}.codes", "codes", method.codes
        for name, table in self.tables.items():
            for model in [*table.models, *table.paper]:
                yield f"tables.{name}.models", "models", model
            for row in table.rows:
                yield f"tables.{name}.rows", "methods", row.method
                for model in row.models or []:
                    yield f"tables.{name}.rows.{row.method}.models", "models", model
        for name, sweep in self.sweeps.items():
            yield f"sweeps.{name}.model", "models", sweep.model
            yield f"sweeps.{name}.method", "methods", sweep.method
        for name, entry in self.models.items():
            for embedding in entry.embeddings:
                yield f"models.{name}.embeddings", "embeddings", embedding
        for name, codes in self.codes.items():
            if "start" in codes.needs:
                yield f"codes.{name}.start", "codes", _start(codes)
        if self.table2:
            yield "table2.codes", "codes", self.table2.codes
        if self.claims:
            yield "claims.table", "tables", self.claims.table
            claims = self.claims
            for judged in [claims.conventional, *claims.random, *claims.learned]:
                yield "claims", "methods", judged
            if self.claims.sweep:
                yield "claims.sweep", "sweeps", self.claims.sweep
            if frontier := self.claims.frontier:
                for model in frontier.models:
                    yield "claims.frontier.models", "models", model
        for name, figure in self.figures.items():
            for section, entry in figure.names:
                yield f"figures.{name}", section, entry
        for model in self.compute.bfloat16:
            yield "compute.bfloat16", "models", model
        if self.models and isinstance(self.vectors, OfModel):
            yield "vectors.method", "methods", self.vectors.method

    @model_validator(mode="after")
    def _frontier_is_drawn(self) -> "Preset":
        claimed = self.claims is not None and self.claims.frontier is not None
        kinds = {figure.kind for figure in self.figures.values()}
        if claimed and "frontier" not in kinds:
            found = ", ".join(sorted(kinds)) or "none"
            raise KDError(f"claims.frontier must have a figure of kind frontier, got {found}")
        return self

    @model_validator(mode="after")
    def _rows_once(self) -> "Preset":
        for name, table in self.tables.items():
            for what, values in (
                ("model", table.models),
                ("method", [row.method for row in table.rows]),
            ):
                twice = {value for value in values if values.count(value) > 1}
                if twice:
                    raise KDError(f"tables.{name} has the {what} {sorted(twice)[0]!r} twice")
            for model in table.models:
                if not table.rows_of(model):
                    raise KDError(f"tables.{name} has no row of the model {model!r}")
        return self


@dataclass(frozen=True)
class Point:
    """A model of a sweep: the varied setting, all varied settings' values, and its run."""

    swept: str
    values: dict[str, Any]
    seed: int
    run: Run


class Experiment:
    """A checked preset with a name, and the runs that it asks for.

    Args:
        name: of the preset; results go to results/<name>/.
        values: the preset as its file has it, with `extends` resolved.

    Raises:
        KDError: one line for the first thing that is wrong.
    """

    def __init__(self, name: str, values: Mapping[str, Any]):
        self.name = name
        self.raw = _with_entries_extended(values)
        try:
            self.preset = Preset.model_validate(self.raw)
        except ValidationError as error:
            raise KDError.of_settings(error, "") from None
        self._check_runs()

    # Single runs.

    @cached_property
    def text(self) -> Run:
        """The index of the text.

        Raises:
            KDError: the preset has none.
        """
        settings = self.preset.text
        if settings is None:
            raise KDError("text is missing")
        content = {split: _content(path) for split, path in settings.files.items()}
        return Run(
            "texts", f"Text: {settings.kind}", settings.model_dump(),
            {
                **identity(settings, settings.places),
                **({"content": content} if content else {}),
            },
        )  # fmt: skip

    def model(
        self, model: str, method: str, seed: int, vary: Mapping[str, Any] | None = None
    ) -> Run:
        """The language model with an embedding.

        Args:
            vary: settings that are otherwise, as `codes.<setting>` or `embedding.<setting>`.

        Raises:
            KDError: the method's parts do not belong together.
        """
        vary = vary or {}
        chosen, entry = self.preset.methods[method], self.preset.models[model]
        where = f"methods.{method}"
        own = entry.embeddings.get(chosen.embedding, {})
        raw = merged(self.raw["embeddings"][chosen.embedding], own)
        raw = _varied(raw, vary, "embedding.")
        embedding = EMBEDDINGS.parse(raw, f"embeddings.{chosen.embedding}")
        inputs = {"text": self.text}
        if ("codes" in embedding.needs) != (chosen.codes is not None):
            has = f"has codes {chosen.codes!r}" if chosen.codes else "has no codes"
            takes = "needs codes" if "codes" in embedding.needs else "takes none"
            raise KDError(f"{where} {has}, and an embedding of kind {embedding.kind!r} {takes}")
        if chosen.codes is not None:
            inputs["codes"] = self._codes(
                chosen.codes, lambda: self.vectors(model, seed, method), seed, vary
            )
        elif any(path.startswith("codes.") for path in vary):
            raise KDError(f"{where} has no codes to vary")
        if chosen.vectors and not {"codes", "vectors"} & set(embedding.needs):
            raise KDError(f"{where}.vectors: an embedding of kind {embedding.kind!r} takes none")
        if "vectors" in embedding.needs:
            inputs["vectors"] = self.vectors(model, seed, method)
        title = f"{model}, {chosen.label}, seed {seed}"
        if vary:
            title += "".join(f", {path.partition('.')[2]} = {v}" for path, v in vary.items())
        settings = entry.settings
        return Run(
            "retrained" if chosen.codes else "models",
            title,
            {
                "model": settings.model_dump(),
                "embedding": embedding.model_dump(),
                "seed": seed,
            },
            {
                "model": {"numerics": TRAINING_NUMERICS, **identity(settings)},
                "embedding": identity(embedding),
                "seed": seed,
            },
            inputs,
            {"model": model, "method": method, "seed": seed},
        )

    def codes(self, name: str, model: str, seed: int, vary: Mapping[str, Any] | None = None) -> Run:
        """Codes for a language model's words."""
        return self._codes(name, lambda: self.vectors(model, seed), seed, vary or {})

    def _codes(
        self,
        name: str,
        vectors: Callable[[], Run],
        seed: int,
        vary: Mapping[str, Any],
        of_text: bool = True,
    ) -> Run:
        """Codes by a learner; `of_text` says whether the vectors are of the text's words."""
        raw = self.raw["codes"][name]
        learner = LEARNERS.parse(raw, f"codes.{name}")
        fields = type(learner).model_fields
        own = {p: v for p, v in vary.items() if p.partition(".")[2].partition(".")[0] in fields}
        learner = LEARNERS.parse(_varied(raw, own, "codes."), f"codes.{name}")
        inputs: dict[str, Run] = {}
        if "counts" in learner.needs and not of_text:
            raise KDError(f"codes.{name} counts words, and these vectors are not of the text")
        if "vectors" in learner.needs or not of_text:
            inputs["vectors"] = vectors()
        if "counts" in learner.needs or not inputs:
            inputs["text"] = self.text
        rest = {path: v for path, v in vary.items() if path not in own}
        if "start" in learner.needs:
            inputs["start"] = self._codes(_start(learner), vectors, seed, rest, of_text)
        return Run(
            "codes",
            f"codes {name}, seed {seed}" + "".join(f", {p} = {v}" for p, v in vary.items()),
            {"learner": learner.model_dump(), "seed": seed},
            {"learner": identity(learner, frozenset({"start"})), "seed": seed},
            inputs,
            {"codes": name, "seed": seed},
        )

    def vectors(self, model: str, seed: int, method: str | None = None) -> Run:
        """The pretrained vectors that codes for a language model are learned from."""
        raw, where = self.preset.vectors.model_dump(), "vectors"
        if own := self.preset.models[model].vectors:
            raw, where = merged(raw, own), f"models.{model}.vectors"
        of_method = self.preset.methods[method].vectors if method else None
        if of_method:
            raw, where = merged(raw, of_method), f"methods.{method}.vectors"
        return self._vectors(VECTORS.parse(raw, where), model, seed, where)

    def _vectors(
        self, settings: VectorSettings, model: str | None, seed: int, where: str = "vectors"
    ) -> Run:
        inputs: dict[str, Run] = {}
        content = [_content(path) for path in settings.files]
        spec = {
            **identity(settings, settings.places),
            **({"content": content} if content else {}),
        }
        if isinstance(settings, OfModel):
            source, seed = settings.model or model, settings.seed or seed
            if source not in self.preset.models:
                raise KDError(
                    f"{where}.model: " + unknown("model", source, list(self.preset.models))
                )
            if settings.method not in self.preset.methods:
                known = list(self.preset.methods)
                raise KDError(f"{where}.method: " + unknown("method", settings.method, known))
            settings = settings.changed(model=source, seed=seed)
            spec = {"kind": settings.kind, "numerics": settings.module.NUMERICS}
            method = self.preset.methods[settings.method]
            if method.codes or "vectors" in self.preset.embeddings[method.embedding].needs:
                raise KDError(
                    f"{where}.method is {settings.method!r}, which is itself made from vectors"
                )
            inputs["model"] = self.model(source, settings.method, seed)
            inputs["text"] = self.text
        title = f"vectors: {settings.title}"
        return Run("vectors", title, settings.model_dump(), spec, inputs)

    # What tables and figures are made of.

    def row(self, model: str, row: Row) -> list[Run]:
        """The runs of a row of a table, seed by seed."""
        return [self.model(model, row.method, seed) for seed in range(1, row.seeds + 1)]

    def table(self, name: str, models: list[str] | None = None) -> list[Run]:
        """The runs of a table, row by row."""
        table = self.preset.tables[name]
        return [
            run
            for model in (table.models if models is None else models)
            for row in table.rows_of(model)
            for run in self.row(model, row)
        ]

    def sweep(self, name: str) -> list[Point]:
        """The runs of a sweep, setting by setting."""
        sweep = self.preset.sweeps[name]
        held = self.held(name)
        return [
            Point(path, values, seed, self.model(sweep.model, sweep.method, seed, {path: value}))
            for path, varied in sweep.vary.items()
            for value in varied
            for values in [{**held, path: value}]
            for seed in range(1, sweep.seeds + 1)
        ]

    def held(self, name: str) -> dict[str, Any]:
        """The values of a sweep's settings while they are not varied.

        Raises:
            KDError: the sweep varies something that its method has not.
        """
        sweep = self.preset.sweeps[name]
        method = self.preset.methods[sweep.method]
        entries = {"embedding": [self.preset.embeddings[method.embedding]], "codes": []}
        codes = self.preset.codes[method.codes] if method.codes else None
        while codes is not None:
            entries["codes"].append(codes)
            codes = self.preset.codes[_start(codes)] if "start" in codes.needs else None
        found: dict[str, Any] = {}
        for section, settings in entries.items():
            for entry in settings:
                for key, value in _flat(entry.model_dump()).items():
                    found.setdefault(f"{section}.{key}", value)
        for path in sweep.vary:
            if path not in found:
                raise KDError(f"sweeps.{name}.vary: " + unknown("setting", path, list(found)))
        return {path: found[path] for path in sweep.vary}

    def table2(self) -> tuple[Run, Run]:
        """The vectors and the codes of Table 2."""
        chosen = self.preset.table2
        if chosen is None:
            raise KDError("table2 is missing")
        of_text = isinstance(chosen.vectors, OfModel)
        vectors = self._vectors(chosen.vectors, None, 1, "table2.vectors")
        return vectors, self._codes(chosen.codes, lambda: vectors, 1, {}, of_text)

    def reconstructions(self, name: str) -> list[Run]:
        """Word vectors in each form and size, size by size."""
        chosen = self.preset.reconstructions[name]
        vectors = self._vectors(chosen.vectors, None, 1, f"reconstructions.{name}.vectors")
        pairs = chosen.similarity
        return [
            Run(
                "reconstructions",
                f"{chosen.title}, {form}, {ratio:g} times smaller",
                {
                    "form": form,
                    "ratio": ratio,
                    "seed": chosen.seed,
                    **({"similarity": pairs.model_dump()} if pairs else {}),
                },
                {
                    "numerics": COMPRESSION_NUMERICS,
                    "form": form,
                    "ratio": ratio,
                    "seed": chosen.seed,
                    **({"similarity": pairs.sha256} if pairs else {}),
                },
                {"vectors": vectors},
                {"table": name, "form": form, "asked_ratio": ratio},
            )
            for ratio in chosen.ratios
            for form in chosen.forms
        ]

    def clustering(self) -> list[Run]:
        """The clustering experiment of Figure 3, seed by seed."""
        settings = self.preset.clustering
        if settings is None:
            return []
        numerics = LEARNERS.load("straight_through").NUMERICS
        return [
            Run(
                "clustering", f"clustering, seed {seed}",
                {**settings.model_dump(), "seed": seed},
                {"numerics": numerics, **identity(settings, frozenset({"seeds"})), "seed": seed},
            )
            for seed in range(1, settings.seeds + 1)
        ]  # fmt: skip

    def models(self) -> list[Run]:
        """Every language model of the tables and sweeps, once."""
        runs = [run for name in self.preset.tables for run in self.table(name)]
        runs += [point.run for name in self.preset.sweeps for point in self.sweep(name)]
        return list(dict.fromkeys(runs))

    def _check_runs(self) -> None:
        """Resolve all; two methods of a table must not be the same thing."""
        for name, table in self.preset.tables.items():
            for model in table.models:
                seen: dict[Run, str] = {}
                for row in table.rows_of(model):
                    run = self.model(model, row.method, 1)
                    if run in seen:
                        raise KDError(
                            f"tables.{name}: {seen[run]!r} and {row.method!r} are the same with "
                            f"the model {model!r}: leave one out"
                        )
                    seen[run] = row.method
        for name in self.preset.sweeps:
            self.sweep(name)
        if self.preset.table2:
            self.table2()
        for name in self.preset.reconstructions:
            self.reconstructions(name)

    def dump(self) -> dict[str, Any]:
        """All settings that can have to do with a result, JSON-like, with the name."""
        inert = {"data_mirror", "partial", "published", "compute"}
        return {"name": self.name, **self.preset.model_dump(mode="json", exclude=inert)}


def load_experiment(path: str | Path) -> Experiment:
    """A preset from its file, YAML.

    Its name is the file's. `extends` in it names another preset of the same folder, whose entries
    it takes over.

    Raises:
        KDError: one line that begins with the file's name.
    """
    path = Path(path)
    try:
        return Experiment(path.stem, read_preset(path))
    except KDError as error:
        told = str(error)
        raise KDError(told if told.startswith(str(path)) else f"{path}: {told}") from None


def from_dump(values: Mapping[str, Any]) -> Experiment:
    """An experiment from what `Experiment.dump` gave."""
    return Experiment(values["name"], {k: v for k, v in values.items() if k != "name"})


class _Loader(yaml.SafeLoader):
    """YAML in which a key stands once."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    loader.flatten_mapping(node)
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    for key in keys:
        if keys.count(key) > 1:
            line = node.start_mark.line + 1
            raise KDError(f"the key {key!r} stands twice in the section at line {line}")
    return dict(loader.construct_pairs(node, deep=True))


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_preset(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A preset's file as a mapping, `extends` resolved.

    Raises:
        KDError: it is missing, is not YAML, has a key twice, or extends itself.
    """
    if path in seen:
        circle = " → ".join(file.name for file in (*seen, path))
        raise KDError(f"{seen[0]}: extends goes in a circle: {circle}")
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise KDError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise KDError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    except KDError as error:
        raise KDError(f"{path}: {error}") from None
    if not isinstance(values, dict):
        raise KDError(f"{path}: must be a mapping of keys to values")
    if base := values.pop("extends", None):
        values = merged(read_preset(path.with_name(f"{base}.yaml"), (*seen, path)), values)
    return values


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """A section with another laid over it, key by key; lists and values are replaced whole.

    A null takes a section away. Of a section whose kind is another one, what the new kind has too
    stays.
    """
    found = dict(base)
    if over.get("kind", base.get("kind")) != base.get("kind"):
        known = _settings_of_kind(base.get("kind"), over["kind"])
        found = {key: value for key, value in base.items() if known is None or key in known}
    for key, value in over.items():
        before = found.get(key)
        if not isinstance(before, Mapping):
            found[key] = deepcopy(value)
        elif isinstance(value, Mapping):
            found[key] = merged(before, value)
        elif value is None:
            del found[key]
        else:
            found[key] = deepcopy(value)
    return found


def _settings_of_kind(old: object, new: object) -> set[str] | None:
    """The settings of a new kind, among the kinds that have the old one; None: there is none."""
    for kinds in (TEXTS, VECTORS, LEARNERS, TRANSFORMS, EMBEDDINGS, FIGURES):
        names = kinds.names()
        if old in names and new in names:
            return {"kind", *kinds.load(str(new)).Settings.model_fields}
    return None


EXTENDABLE = (
    "models", "codes", "embeddings", "methods", "tables", "sweeps", "reconstructions",
)  # fmt: skip


def _with_entries_extended(values: Mapping[str, Any]) -> dict[str, Any]:
    """Entries that extend another of their section, resolved.

    Raises:
        KDError: an entry extends one that there is not, or itself.
    """
    found = dict(values)
    for section in EXTENDABLE:
        entries = values.get(section)
        if isinstance(entries, Mapping):
            found[section] = {name: _extended(section, name, entries, ()) for name in entries}
    return found


def _extended(section: str, name: str, entries: Mapping[str, Any], seen: tuple[str, ...]) -> Any:
    if name in seen:
        circle = " → ".join((*seen, name))
        raise KDError(f"{section}.{seen[0]}: extends goes in a circle: {circle}")
    entry = entries[name]
    if not isinstance(entry, Mapping) or "extends" not in entry:
        return entry
    base = entry["extends"]
    if base not in entries:
        where = f"{section}.{name}.extends: "
        raise KDError(where + unknown(f"entry of {section}", base, list(entries)))
    own = {key: value for key, value in entry.items() if key != "extends"}
    return merged(_extended(section, base, entries, (*seen, name)), own)


def _varied(raw: Mapping[str, Any], vary: Mapping[str, Any], section: str) -> dict[str, Any]:
    """An entry with some settings otherwise; `section` begins the paths that are meant."""
    found = dict(raw)
    for path, value in vary.items():
        if path.startswith(section):
            over: Any = value
            for part in reversed(path.removeprefix(section).split(".")):
                over = {part: over}
            found = merged(found, over)
    return found


def _content(path: Path) -> str:
    return sha256(path) if path.is_file() else "absent"


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by their path."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def _start(learner: KindSettings) -> str:
    """The entry of codes that a learner begins with."""
    return str(learner.model_dump()["start"])
