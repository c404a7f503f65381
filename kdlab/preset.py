"""The schema of a preset, `config/<name>.yaml`: typed, and checked for names that are not there.

Everything that varies has a name here: language models, codes, embeddings, methods (a pair of the
two), tables, sweeps, figures. `config/README.md` and `config/schema.json` are generated from it.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from kdcore.compressing import FORMS, FormName
from kdcore.embeddings import EMBEDDINGS
from kdcore.errors import KDError
from kdcore.kinds import KindSettings, Section, unknown
from kdcore.learners import LEARNERS
from kdlab.clustering_settings import ClusteringSettings
from kdlab.figures import FIGURES, FigureSettings
from kdlab.installed import InstalledFile
from kdlab.language_model_settings import LanguageModelSettings
from kdlab.texts import TEXTS, TextSettings
from kdlab.vectors import VECTORS, VectorSettings

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


Line = Literal["solid", "dashed", "dotted", "dashdot"]


class Style(Section):
    """How a method is drawn."""

    color: str = Field("grey", description="a colour of Okabe and Ito's palette, or #rrggbb")
    line: Line = Field("solid", description="line of its learning curve")


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
    vary: dict[str, Annotated[list[int | float], Field(min_length=1)]] = Field(
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
    ratios: list[Annotated[float, Field(gt=1)]] = Field(
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
            figures: dict[Any, Any] = {}
            for at, entry in enumerate(values["figures"]):
                if not isinstance(entry, str | Mapping):
                    raise KDError(f"figures.{at} must be a kind or a section, got {entry!r}")
                section = {"kind": entry} if isinstance(entry, str) else dict(entry)
                name = section.pop("name", section.get("kind"))
                if name in list(figures):
                    raise KDError(f"figures: each must have a name of its own, got {name!r} twice")
                figures[name] = section
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
            if (start := start_of(codes)) is not None:
                yield f"codes.{name}.start", "codes", start
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
            for section, named in figure.names:
                yield f"figures.{name}", section, named
        for model in self.compute.bfloat16:
            yield "compute.bfloat16", "models", model

    @model_validator(mode="after")
    def _codes_begin_somewhere(self) -> "Preset":
        for name in self.codes:
            self.codes_from(name)
        return self

    def codes_from(self, name: str) -> list[KindSettings]:
        """An entry of `codes`, the entry that it begins with, and so on to one that begins alone.

        Raises:
            KDError: it begins with itself.
        """
        names = [name]
        while (start := start_of(self.codes[names[-1]])) is not None:
            if start in names:
                circle = " → ".join([*names, start])
                raise KDError(f"codes.{name}: start goes in a circle: {circle}")
            names.append(start)
        return [self.codes[found] for found in names]

    @model_validator(mode="after")
    def _frontier_is_drawn(self) -> "Preset":
        claimed = self.claims is not None and self.claims.frontier is not None
        kinds = {figure.kind for figure in self.figures.values()}
        if claimed and "frontier" not in kinds:
            found = ", ".join(sorted(kinds)) or "none"
            raise KDError(f"claims.frontier must have a figure of kind frontier, got {found}")
        return self

    @model_validator(mode="after")
    def _families_exist(self) -> "Preset":
        if self.claims and self.claims.frontier:
            known = {method.family for method in self.methods.values() if method.family}
            for family in self.claims.frontier.families:
                if family not in known:
                    told = unknown("family of methods", family, list(known))
                    raise KDError(f"claims.frontier.families: {told}")
        return self

    @model_validator(mode="after")
    def _colors_can_be_drawn(self) -> "Preset":
        # Imported here: jobs that read no preset do not wait for matplotlib.
        from kdlab import style

        for name, method in self.methods.items():
            try:
                style.Style().color(method.style.color)
            except KDError as error:
                raise KDError(f"methods.{name}.style.{error}") from None
        return self

    @model_validator(mode="after")
    def _rows_once(self) -> "Preset":
        for name, table in self.tables.items():
            twice = _twice(table.models)
            if twice:
                raise KDError(f"tables.{name}: each model must stand once, got {twice!r} twice")
            for model in table.models:
                twice = _twice([row.method for row in table.rows_of(model)])
                if twice:
                    raise KDError(
                        f"tables.{name}: each method must stand once for a model, got {twice!r} "
                        f"twice for {model!r}"
                    )
            for model in table.models:
                if not table.rows_of(model):
                    raise KDError(f"tables.{name} has no row of the model {model!r}")
        return self


def _twice(names: list[str]) -> str | None:
    """The first of the names, by the alphabet, that stands more than once."""
    return min((name for name in names if names.count(name) > 1), default=None)


def start_of(learner: KindSettings) -> str | None:
    """The entry of `codes` that a learner begins with; None: it begins with none."""
    return str(learner.model_dump()["start"]) if "start" in learner.needs else None
