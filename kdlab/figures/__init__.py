"""Figures: one file a kind.

The first paragraph of a kind's docstring is the figure's title, the rest its caption. A kind draws
with `draw(data, style)`, from the settings, tables and files in `data`, a
`kdlab.drawing.FigureData`. What its settings' `needs` can hold:

- the name of a file of results, for example `table1.csv`;
- `curves`: the learning curve of every model of the tables;
- `benchmarks`: how long codes took to learn, where it is known;
- `errors`: what codes lose of the vectors that they were learned from, where it is known;
- `words`: vectors, codes and decoder of Table 2.

A kind that also writes tables names them in `TABLES` and makes them in `tables(data)`.
"""

from pydantic import Field

from kdcore.kinds import Kinds, KindSettings, Section


class FigureSettings(KindSettings):
    """Settings of a figure."""

    @property
    def names(self) -> list[tuple[str, str]]:
        """Entries of the preset that are named here, as pairs of section and name.

        One that there is not is refused before any work starts.
        """
        return []

    @property
    def table_files(self) -> tuple[str, ...]:
        """Files of the tables that the kind makes beside the figure."""
        files: tuple[str, ...] = getattr(self.module, "TABLES", ())
        return files


class Panel(Section):
    """A panel: models whose rows are compared."""

    title: str = Field(description="its title")
    models: list[str] = Field(
        min_length=1, description="entries of `models`, one model on one schedule or several"
    )


FIGURES: Kinds[FigureSettings] = Kinds("kdlab.figures", "figure")
