"""Figures: one file a kind.

The first paragraph of a kind's docstring is the figure's title, the rest its caption. A kind draws
with `draw(data, style)`, from the settings, tables and files in `data`. What its settings' `needs`
can hold:

- the name of a file of results, for example `table1.csv`;
- `curves`: the learning curve of every model of the tables;
- `benchmarks`: how long codes took to learn, where it is known;
- `errors`: what codes lose of the vectors that they were learned from, where it is known;
- `words`: vectors, codes and decoder of Table 2.

A kind whose settings name entries of the preset lists them in `names`, as pairs of section and
entry: one that there is not is refused before any work starts.

A kind that also writes tables names them in `TABLES` and makes them in `tables(data)`.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdcore.errors import KDError
from kdcore.kinds import Kinds, KindSettings

if TYPE_CHECKING:
    import pandas as pd

    from kdcore.codes import Codes
    from kdcore.transforms import Transform
    from kdcore.vectors import WordVectors
    from kdlab.experiment import Experiment

FIGURES: Kinds[KindSettings] = Kinds("kdlab.figures", "figure")


@dataclass(frozen=True)
class Words:
    """What Table 2 shows: N word vectors, a code for each, and what composes vectors from codes."""

    vectors: "WordVectors"
    codes: "Codes"
    decoder: "Transform"


@dataclass(frozen=True)
class WordFiles:
    """Where they are."""

    vectors: Path
    codes: Path
    decoder: Path


@dataclass(frozen=True)
class FigureData:
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

    settings: KindSettings
    experiment: "Experiment"
    results: Path
    curves: Mapping[str, Path] = field(default_factory=dict)
    benchmarks: Mapping[str, Path] = field(default_factory=dict)
    errors: Mapping[str, Path] = field(default_factory=dict)
    word_files: WordFiles | None = None

    def table(self, name: str) -> "pd.DataFrame":
        """A table of the results.

        Raises:
            KDError: it is not there.
        """
        import pandas as pd

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
        from kdcore.codes import Codes
        from kdcore.decoder import load_decoder
        from kdcore.vectors import WordVectors

        files = self.word_files
        if files is None:
            raise KDError(f"the figure {self.settings.kind} needs the vectors and codes of Table 2")
        return Words(
            WordVectors.load(files.vectors), Codes.load(files.codes), load_decoder(files.decoder)
        )


def title(settings: KindSettings) -> str:
    """The title of a figure: the first paragraph of its kind's docstring, without the full stop."""
    return _paragraphs(settings)[0].removesuffix(".")


def caption(settings: KindSettings) -> str:
    """The caption of a figure: its title, and what else its kind's docstring says."""
    return "\n\n".join(_paragraphs(settings))


def _paragraphs(settings: KindSettings) -> list[str]:
    text = inspect.getdoc(settings.module) or settings.kind
    return [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]


def tables(data: FigureData) -> "dict[str, pd.DataFrame]":
    """The tables that a figure's kind makes beside the figure, by file name."""
    module: Any = data.settings.module
    names = getattr(module, "TABLES", ())
    made: dict[str, pd.DataFrame] = module.tables(data) if names else {}
    if set(made) != set(names):
        raise KDError(f"figure kind {data.settings.kind}: TABLES and tables() must name the same")
    return made


def render(data: FigureData, png: Path, pdf: Path) -> None:
    """Draw a figure to its two files."""
    from kdlab.style import Style, parameters, save

    with parameters():
        save(data.settings.module.draw(data, Style()), png, pdf)
