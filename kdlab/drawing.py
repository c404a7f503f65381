"""Drawing a figure of a preset: what it is drawn from, and its title, caption, tables and files."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

import pandas as pd

from kdcore.codes import Codes
from kdcore.decoder import load_decoder
from kdcore.errors import KDError
from kdcore.transforms import Transform
from kdcore.vectors import WordVectors
from kdlab.experiment import Experiment
from kdlab.figures import FigureSettings
from kdlab.style import Style, parameters, save

Settings = TypeVar("Settings", bound=FigureSettings, covariant=True)


@dataclass(frozen=True)
class Words:
    """What Table 2 shows: N word vectors, a code for each, and what composes vectors from codes."""

    vectors: WordVectors
    codes: Codes
    decoder: Transform


@dataclass(frozen=True)
class WordFiles:
    """Where they are."""

    vectors: Path
    codes: Path
    decoder: Path


@dataclass(frozen=True)
class FigureData(Generic[Settings]):
    """What a figure is drawn from.

    Attributes:
        settings: of the figure.
        experiment: all else that the preset says.
        results: folder with the preset's tables.
        curves: files of learning curves, by the model's address.
        benchmarks: files with the time that codes took to learn, by the codes' address.
        errors: files with what codes lose of the vectors, by the codes' address.
        word_files: of Table 2.
    """

    settings: Settings
    experiment: Experiment
    results: Path
    curves: Mapping[str, Path] = field(default_factory=dict)
    benchmarks: Mapping[str, Path] = field(default_factory=dict)
    errors: Mapping[str, Path] = field(default_factory=dict)
    word_files: WordFiles | None = None

    def table(self, name: str) -> pd.DataFrame:
        """A table of the results.

        Raises:
            KDError: it is not there.
        """
        path = self.results / name
        if not path.is_file():
            raise KDError(f"{path}: no such file, and the figure {self.settings.kind} needs it")
        return pd.read_csv(path)

    @cached_property
    def words(self) -> Words:
        """Vectors, codes and decoder of Table 2.

        Raises:
            KDError: they were not given, or a file is damaged.
        """
        files = self.word_files
        if files is None:
            raise KDError(f"the figure {self.settings.kind} needs the vectors and codes of Table 2")
        return Words(
            WordVectors.load(files.vectors), Codes.load(files.codes), load_decoder(files.decoder)
        )


def signs(
    data: FigureData[FigureSettings], names: list[str], style: Style
) -> dict[str, tuple[str, str]]:
    """Colour and marker of each family in some tables, whether it was run or not."""
    preset = data.experiment.preset
    methods = [preset.methods[row.method] for name in names for row in preset.tables[name].rows]
    colors: dict[str, str] = {}
    for method in methods:
        colors.setdefault(method.family or method.label, style.color(method.style.color))
    markers = style.markers(colors)
    return {name: (color, markers[name]) for name, color in colors.items()}


def title(settings: FigureSettings) -> str:
    """The title of a figure: the first paragraph of its kind's docstring, without the full stop."""
    return _paragraphs(settings)[0].removesuffix(".")


def caption(settings: FigureSettings) -> str:
    """The caption of a figure: its title, and what else its kind's docstring says."""
    return "\n\n".join(_paragraphs(settings))


def _paragraphs(settings: FigureSettings) -> list[str]:
    text = inspect.getdoc(settings.module) or settings.kind
    return [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]


def tables(data: FigureData[FigureSettings]) -> dict[str, pd.DataFrame]:
    """The tables that a figure's kind makes beside the figure, by file name.

    Raises:
        KDError: they are not those that the kind says it makes.
    """
    module: Any = data.settings.module
    names = data.settings.table_files
    made: dict[str, pd.DataFrame] = module.tables(data) if names else {}
    if set(made) != set(names):
        raise KDError(
            f"figure kind {data.settings.kind}: tables() must make {', '.join(sorted(names))}, "
            f"as TABLES says, got {', '.join(sorted(made)) or 'none'}"
        )
    return made


def render(data: FigureData[FigureSettings], png: Path, pdf: Path) -> None:
    """Draw a figure to its two files.

    Raises:
        KDError: something that it needs is not there.
    """
    with parameters():
        save(data.settings.module.draw(data, Style()), png, pdf)
