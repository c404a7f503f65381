"""The typed schema of a preset, `config/<preset>.yaml`, and the cells it asks for.

`config/README.md` and `config/schema.json` are generated from it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kdcore.errors import KDError
from kdcore.settings.codes import CodeLearningSettings, KDEmbeddingSettings
from kdlab.clustering_settings import ClusteringSettings
from kdlab.language_model_settings import LanguageModelSettings

CodeSource = Literal["none", "random", "linear", "lstm", "refined"]
SizeName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
TransformName = Literal["none", "linear", "lstm", "linear_dropout", "lstm_dropout"]
# What rows call a transform, and what kdcore calls it.
TRANSFORMS = {
    "linear": "linear", "lstm": "lstm", "linear_dropout": "linear", "lstm_dropout": "lstm",
}  # fmt: skip


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class PTB(Section):
    """Penn Treebank in Mikolov's preparation, downloaded."""

    kind: Literal["ptb"] = Field(description="this kind of corpus")

    def files(self, data: str) -> dict[str, str]:
        """The text by split; `data` is the preset's folder of inputs."""
        return {split: f"{data}/ptb.{split}.txt" for split in ("train", "valid", "test")}


class TextFolder(Section):
    """A folder of your own with train.txt, valid.txt and test.txt, one sentence a line."""

    kind: Literal["text"] = Field(description="this kind of corpus")
    folder: str = Field(description="the folder, relative to the project")

    def files(self, data: str) -> dict[str, str]:
        """The text by split."""
        return {split: f"{self.folder}/{split}.txt" for split in ("train", "valid", "test")}


class TextFiles(Section):
    """Three text files of your own, one sentence a line."""

    kind: Literal["files"] = Field(description="this kind of corpus")
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", description="what the text is called")
    train: str = Field(description="file to train on, relative to the project")
    valid: str = Field(description="file to choose settings on")
    test: str = Field(description="file to report on")

    def files(self, data: str) -> dict[str, str]:
        """The text by split."""
        return {"train": self.train, "valid": self.valid, "test": self.test}


class Generated(Section):
    """The embedded demo corpus: drawn from a small seeded grammar, no network."""

    kind: Literal["generated"] = Field(description="this kind of corpus")
    tokens: int = Field(ge=1000, description="training tokens, about; a tenth each for valid, test")
    seed: int = Field(description="random seed of the text")


class GloVe(Section):
    """The first lines of a GloVe table, downloaded by HTTP ranges."""

    kind: Literal["glove"] = Field(description="this kind of vectors")
    dim: Literal[50, 100, 200, 300] = Field(description="vector size")
    words: int = Field(gt=0, le=400_000, description="lines read, the most frequent words")

    @property
    def title(self) -> str:
        """What Table 2 calls them."""
        return f"GloVe 6B, {self.dim} dimensions"


class VectorFile(Section):
    """A text file of your own, a word and its numbers per line."""

    kind: Literal["file"] = Field(description="this kind of vectors")
    path: str = Field(description="the file, relative to the project")
    words: int | None = Field(None, gt=0, description="lines read; null reads all")

    @property
    def title(self) -> str:
        """What Table 2 calls them."""
        return self.path


class CorpusVectors(Section):
    """The input embedding of the preset's own baseline language model, seed 1."""

    kind: Literal["baseline"] = Field(description="this kind of vectors")
    size: str = Field(description="model size whose embedding is taken")

    @property
    def title(self) -> str:
        """What Table 2 calls them."""
        return f"embedding of the {self.size} baseline"


class Row(Section):
    """A row of Table 1."""

    codes: CodeSource = Field(description="how codes are made; none is the conventional table")
    transform: TransformName = Field(description="how vectors are composed from them")
    seeds: int = Field(1, gt=0, description="runs with seeds 1 … n")
    not_for: list[str] = Field([], description="model sizes of the table without this row")

    @model_validator(mode="after")
    def _both_or_neither(self):
        if (self.codes == "none") != (self.transform == "none"):
            raise ValueError("codes and transform are both 'none' or neither is")
        return self


class Table1(Section):
    """Table 1: perplexity, size and rate of conventional and KD embeddings."""

    sizes: list[str] = Field(min_length=1, description="model sizes, keys of `sizes`")
    K: int = Field(ge=2, description="values of a symbol")
    D: int = Field(ge=1, description="symbols in a code")
    rows: list[Row] = Field(min_length=1, description="rows, in order")

    def rows_of(self, size: str) -> list[Row]:
        """The rows of a model size."""
        return [row for row in self.rows if size not in row.not_for]


class Sweep(Section):
    """Figure 3 (c, d): K at a fixed D and D at a fixed K, on the language model."""

    size: str = Field(description="model size")
    codes: Literal["random", "linear", "lstm", "refined"] = Field(description="how codes are made")
    transform: Literal["linear", "lstm", "linear_dropout", "lstm_dropout"] = Field(
        description="how vectors are composed"
    )
    K: list[Annotated[int, Field(ge=2)]] = Field(
        min_length=2, description="values of K, at D of Table 1; has the K of Table 1"
    )
    D: list[Annotated[int, Field(ge=1)]] = Field(
        min_length=2, description="values of D, at K of Table 1; has the D of Table 1"
    )
    seeds: int = Field(1, gt=0, description="runs with seeds 1 … n")


class Figure3(Section):
    """Figure 3."""

    clustering: ClusteringSettings = Field(description="panels a and b")
    sweep: Sweep = Field(description="panels c and d")


class Table2(Section):
    """Table 2: words that share a code."""

    K: int = Field(ge=2, description="values of a symbol")
    D: int = Field(ge=1, description="symbols in a code")
    codes: Literal["linear", "lstm"] = Field(description="transform by which codes are learned")
    vectors: GloVe | VectorFile | CorpusVectors = Field(
        discriminator="kind", description="where the word vectors come from"
    )
    learning: CodeLearningSettings = Field(description="how these codes are learned")


class Variant(Section):
    """One way to learn codes and to retrain with them."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", description="what the table calls it")
    transform: Literal["linear", "lstm"] = Field(description="how vectors are composed")
    embedding: KDEmbeddingSettings = Field(description="the KD embedding")
    size: str | None = Field(
        None, description="model size it is retrained with; null: `size` of all variants"
    )
    learning: CodeLearningSettings | None = Field(
        None, description="how its codes are learned; null: as `learning` of all variants"
    )


class Ablations(Section):
    """What the choices of the paper's preset rest on: variants judged on validation perplexity."""

    size: str = Field(description="model size, as a rule one with a short schedule")
    baseline: str = Field(description="model size whose embedding the codes are learned from")
    K: int = Field(ge=2, description="values of a symbol")
    D: int = Field(ge=1, description="symbols in a code")
    codes: Literal["linear", "lstm"] = Field(description="transform by which codes are learned")
    learning: CodeLearningSettings = Field(description="how codes are learned")
    variants: list[Variant] = Field(min_length=1, description="variants, in order")

    def size_of(self, variant: Variant) -> str:
        """The model size with which a variant is retrained."""
        return variant.size or self.size


class CodeLearners(Section):
    """Settings of code learning, by the name that Table 1 gives the codes."""

    linear: CodeLearningSettings = Field(description="learning through the linear transform")
    lstm: CodeLearningSettings = Field(description="learning through the LSTM transform")
    refined: CodeLearningSettings | None = Field(
        None, description="learning through the linear transform, then refinement"
    )

    @model_validator(mode="after")
    def _refined_is_refined(self):
        if self.refined and not self.refined.refinement:
            raise ValueError("refined needs a refinement")
        return self


class OwnEmbedding(Section):
    """What one model size retrains otherwise."""

    linear: KDEmbeddingSettings | None = Field(
        None, description="retraining with the linear transform; null: as the other sizes"
    )
    lstm: KDEmbeddingSettings | None = Field(
        None, description="retraining with the LSTM transform; null: as the other sizes"
    )
    linear_dropout: KDEmbeddingSettings | None = Field(
        None,
        description="retraining with the linear transform and dropout of symbols; null: as the "
        "other sizes",
    )
    lstm_dropout: KDEmbeddingSettings | None = Field(
        None,
        description="retraining with the LSTM transform and dropout of symbols; null: as the "
        "other sizes",
    )


class PerTransformEmbedding(Section):
    """Settings of the retrained KD embedding by transform."""

    linear: KDEmbeddingSettings = Field(description="retraining with the linear transform")
    lstm: KDEmbeddingSettings = Field(description="retraining with the LSTM transform")
    linear_dropout: KDEmbeddingSettings | None = Field(
        None, description="retraining with the linear transform and dropout of symbols"
    )
    lstm_dropout: KDEmbeddingSettings | None = Field(
        None, description="retraining with the LSTM transform and dropout of symbols"
    )
    by_size: dict[str, OwnEmbedding] = Field(
        {}, description="model sizes with settings of their own, in place of these as a whole"
    )

    @model_validator(mode="after")
    def _dropout_is_dropout(self):
        for where, name, settings in self.named():
            if name.endswith("_dropout") and not settings.dropout:
                raise ValueError(f"{where} needs a dropout")
        return self

    def named(self) -> list[tuple[str, str, KDEmbeddingSettings]]:
        """All settings: where they stand, what rows call the transform, and they themselves."""
        places = {"": self} | {f".by_size.{size}": own for size, own in self.by_size.items()}
        return [
            (f"kd_embedding{place}.{name}", name, getattr(section, name))
            for place, section in places.items()
            for name in TRANSFORMS
            if getattr(section, name)
        ]

    def of(self, size: str, transform: str) -> KDEmbeddingSettings:
        """The settings of a model size with a transform."""
        own = self.by_size.get(size)
        return (own and getattr(own, transform)) or getattr(self, transform)


class Compute(Section):
    """Where and how models are trained; results name the device."""

    device: Literal["auto", "cpu", "cuda"] = Field(
        "cpu",
        description="device of the language models; auto is a GPU where PyTorch sees one, "
        "and not for clusters",
    )
    bfloat16: list[str] = Field(
        [],
        description="model sizes that a GPU trains under bfloat16 autocast; the others, and all "
        "on a CPU, in float32",
    )
    threads: int = Field(1, gt=0, description="CPU threads of one job")
    checkpoint_seconds: float = Field(60.0, gt=0, description="time between checkpoints")


class Preset(Section):
    """One configuration of the whole pipeline."""

    preset: str = Field(
        pattern=r"^[a-z][a-z0-9_-]*$", description="name; results go to results/<preset>/"
    )
    data_mirror: str | None = Field(
        None,
        description="local folder to take data from instead of the network, with ptb/ and "
        "glove/; the environment variable KDCORE_DATA_MIRROR does the same",
    )
    partial: bool = Field(
        False,
        strict=False,  # on a command line it is text
        description="draw tables and figures from what has been measured so far and leave the "
        "rest empty, instead of training the language models that are missing",
    )
    beside_paper: bool = Field(
        False, description="print the paper's numbers beside the measured ones"
    )
    corpus: PTB | TextFolder | TextFiles | Generated = Field(
        discriminator="kind", description="the text"
    )
    sizes: dict[SizeName, LanguageModelSettings] = Field(
        min_length=1, description="language models by name"
    )
    code_learning: CodeLearners | None = Field(
        None, description="how codes are learned for Table 1"
    )
    kd_embedding: PerTransformEmbedding | None = Field(
        None, description="how models are retrained on codes for Table 1"
    )
    table1: Table1 | None = Field(None, description="Table 1")
    figure3: Figure3 | None = Field(None, description="Figure 3")
    table2: Table2 | None = Field(None, description="Table 2")
    ablations: Ablations | None = Field(
        None, description="variants compared, by themselves or beside the paper's tables"
    )
    compute: Compute = Field(
        default_factory=Compute, description="where and how models are trained"
    )

    @model_validator(mode="after")
    def _tables_together(self):
        parts = ("code_learning", "kd_embedding", "table1", "figure3", "table2")
        absent = [name for name in parts if getattr(self, name) is None]
        if absent and (len(absent) < len(parts) or self.ablations is None):
            raise ValueError(f"{absent[0]} is missing: the paper's tables need {', '.join(parts)}")
        return self

    @model_validator(mode="after")
    def _paper_is_about_ptb(self):
        if self.beside_paper and self.corpus.kind != "ptb":
            raise ValueError("beside_paper needs the paper's text, corpus.kind ptb")
        return self

    @model_validator(mode="after")
    def _a_linear_transform_has_no_cell(self):
        linear = {}
        if self.table1:
            linear["code_learning.linear"] = self.code_learning.linear
            if self.code_learning.refined:
                linear["code_learning.refined"] = self.code_learning.refined
            linear |= {
                where: settings
                for where, name, settings in self.kd_embedding.named()
                if TRANSFORMS[name] == "linear"
            }
            if self.table2.codes == "linear":
                linear["table2.learning"] = self.table2.learning
        if self.ablations:
            if self.ablations.codes == "linear":
                linear["ablations.learning"] = self.ablations.learning
            for variant in self.ablations.variants:
                if variant.transform == "linear":
                    linear[f"ablation {variant.name}"] = variant.embedding
                if variant.learning and self.ablations.codes == "linear":
                    linear[f"ablation {variant.name}, learning"] = variant.learning
        for name, settings in linear.items():
            if settings.cell != "counted":
                raise ValueError(f"{name}: the linear transform has no cell")
        return self

    @model_validator(mode="after")
    def _what_is_standardised_has_no_h(self):
        learned = []
        if self.table1:
            # All sizes: each has targets of its own.
            dims = [size.hidden for size in self.sizes.values()]
            for name in CodeLearners.model_fields:
                settings = getattr(self.code_learning, name)
                learned.append((f"code_learning.{name}", name, settings, dims))
            vectors = self.table2.vectors
            if vectors.kind == "baseline":
                dims = [size.hidden for name, size in self.sizes.items() if name == vectors.size]
            else:
                dims = [vectors.dim] if vectors.kind == "glove" else []
            learned.append(("table2.learning", self.table2.codes, self.table2.learning, dims))
        if self.ablations:
            chosen = self.ablations
            dims = [size.hidden for name, size in self.sizes.items() if name == chosen.baseline]
            learned.append(("ablations.learning", chosen.codes, chosen.learning, dims))
            for variant in chosen.variants:
                name = f"ablation {variant.name}"
                learned.append((name, chosen.codes, variant.learning, dims))
        for name, transform, settings, dims in learned:
            if settings and settings.standardise:
                dims = {settings.code_dim or dim for dim in dims} ^ set(dims)
                if transform == "lstm" or dims:
                    raise ValueError(f"{name}: standardise is for the linear transform without H")
        return self

    @model_validator(mode="after")
    def _word_vectors_have_no_counts(self):
        refinement = self.table2.learning.refinement if self.table2 else None
        if refinement and refinement.count_power:
            raise ValueError(
                "table2.learning.refinement.count_power must be 0: word vectors have no counts"
            )
        return self

    @model_validator(mode="after")
    def _one_cell_in_the_table(self):
        for where, name, settings in self.kd_embedding.named() if self.kd_embedding else []:
            if TRANSFORMS[name] == "lstm" and settings.cell != self.kd_embedding.lstm.cell:
                raise ValueError(f"{where}: another cell than the others'")
        return self

    @model_validator(mode="after")
    def _names_exist(self):
        named = [*self.compute.bfloat16]
        if self.table1:
            table = self.table1
            rows = [(row.codes, row.transform) for row in table.rows]
            for what, values in (("row", rows), ("size", table.sizes)):
                if len(set(values)) < len(values):
                    raise ValueError(f"table1 has the same {what} twice")
            sources = [*(row.codes for row in table.rows), self.figure3.sweep.codes]
            if "refined" in sources and not self.code_learning.refined:
                raise ValueError("refined codes need code_learning.refined")
            for name in [*(row.transform for row in table.rows), self.figure3.sweep.transform]:
                if name in TRANSFORMS and not getattr(self.kd_embedding, name):
                    raise ValueError(f"{name} needs kd_embedding.{name}")
            for size in table.sizes:
                if not table.rows_of(size):
                    raise ValueError(f"table1 has no row of size {size!r}")
            named += [size for row in table.rows for size in row.not_for]
            named += [*self.table1.sizes, self.figure3.sweep.size, *self.kd_embedding.by_size]
            if isinstance(self.table2.vectors, CorpusVectors):
                named.append(self.table2.vectors.size)
            for name, value in (("K", self.table1.K), ("D", self.table1.D)):
                values = getattr(self.figure3.sweep, name)
                if value not in values or value == min(values):
                    raise ValueError(
                        f"figure3.sweep.{name} needs table1.{name} = {value} and something smaller"
                    )
        if self.ablations:
            sizes = [self.ablations.size_of(variant) for variant in self.ablations.variants]
            named += [self.ablations.size, self.ablations.baseline, *sizes]
        variants = [v.name for v in self.ablations.variants] if self.ablations else []
        if len(set(variants)) < len(variants):
            raise ValueError("two ablations have the same name")
        for name in named:
            if name not in self.sizes:
                raise ValueError(f"model size {name!r} is not defined in sizes")
        return self


@dataclass(frozen=True)
class Cell:
    """One trained language model: (size, codes, transform, K, D, seed) on the preset's corpus."""

    size: str
    codes: str
    transform: str
    K: int | None
    D: int | None
    seed: int

    @property
    def folder(self) -> str:
        """Where its files are, below runs/<preset>/."""
        if self.codes == "none":
            return f"baseline/{self.size}/seed{self.seed}"
        code = f"{self.codes}+{self.transform}/K{self.K}_D{self.D}"
        return f"retrained/{self.size}/{code}/seed{self.seed}"

    @property
    def codes_folder(self) -> str:
        """Where its codes are, below runs/<preset>/."""
        return f"codes/{self.size}/{self.codes}/K{self.K}_D{self.D}/seed{self.seed}"


def pretrained_for(preset: Preset, cells: list[Cell]) -> list[Cell]:
    """The conventional models from whose embedding codes are learned or transforms fitted."""
    found = [
        Cell(cell.size, "none", "none", None, None, cell.seed)
        for cell in cells
        if cell.codes not in ("none", "random")
        or (cell.codes == "random" and preset.kd_embedding.of(cell.size, cell.transform).fit)
    ]
    return list(dict.fromkeys(found))


def load_preset(config: dict) -> Preset:
    """Check a configuration.

    Raises:
        KDError: one line for the first wrong key, type or range.
    """
    if not isinstance(config, dict):
        raise KDError("configuration: not a mapping of keys to values")
    try:
        return Preset.model_validate(config)
    except ValidationError as error:
        raise KDError.of_settings(error, "configuration") from None


def read_preset(path: Path) -> Preset:
    """Read and check a preset file.

    Raises:
        KDError: one line when it is missing, not YAML, or wrong.
    """
    try:
        return load_preset(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise KDError(f"{path}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise KDError(f"{path}: not YAML: {' '.join(str(error).split())}") from None


def table1_cells(preset: Preset, sizes: list[str] | None = None) -> list[Cell]:
    """The models of Table 1, row by row."""
    return [
        cell
        for size in (preset.table1.sizes if sizes is None else sizes)
        for row in preset.table1.rows_of(size)
        for cell in row_cells(preset, size, row)
    ]


def row_cells(preset: Preset, size: str, row: Row) -> list[Cell]:
    """The models of one row, seed by seed."""
    table = preset.table1
    shape = (None, None) if row.codes == "none" else (table.K, table.D)
    seeds = range(1, row.seeds + 1)
    return [Cell(size, row.codes, row.transform, *shape, seed) for seed in seeds]


def sweep_cells(preset: Preset) -> list[Cell]:
    """The models of Figure 3 (c, d), the conventional one last."""
    sweep, table = preset.figure3.sweep, preset.table1
    shapes = [(K, table.D) for K in sweep.K] + [(table.K, D) for D in sweep.D]
    seeds = range(1, sweep.seeds + 1)
    coded = [
        Cell(sweep.size, sweep.codes, sweep.transform, K, D, seed)
        for K, D in dict.fromkeys(shapes)
        for seed in seeds
    ]
    return coded + [Cell(sweep.size, "none", "none", None, None, seed) for seed in seeds]


def table2_cells(preset: Preset) -> list[Cell]:
    """The model whose embedding Table 2 shows, if it is one's."""
    vectors = preset.table2.vectors
    of_model = vectors.kind == "baseline"
    return [Cell(vectors.size, "none", "none", None, None, 1)] if of_model else []


def all_cells(preset: Preset) -> list[Cell]:
    """Every model of the paper's tables, once."""
    if preset.table1 is None:
        return []
    return list(dict.fromkeys(table1_cells(preset) + sweep_cells(preset) + table2_cells(preset)))
