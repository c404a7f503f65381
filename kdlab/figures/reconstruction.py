"""Word vectors in fewer bits: what each form loses, without a language model.

A row of panels for each table of vectors. Across are the bits a word that are stored, upwards the
share of the variance that is lost (left, lower is better) and the share of a word's ten nearest
neighbours that stay (right, higher is better).
"""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from kdlab.drawing import FigureData
from kdlab.figures import FigureSettings
from kdlab.style import Style

NUMERICS = 1
EXAMPLE: dict = {}
MEASURES = {"error": "error", "overlap": "neighbours that stay"}
# Inches of a row of panels, and of one that says "not run".
HEIGHT, EMPTY = 2.6, 0.8
COLORS = ("orange", "skyblue", "red", "black", "blue", "green")


class Settings(FigureSettings):
    """All tables of the preset's `reconstructions`."""

    @property
    def needs(self) -> frozenset[str]:
        """What was lost."""
        return frozenset({"reconstruction.csv"})


def draw(data: FigureData[Settings], style: Style) -> Figure:
    """A row of panels for each table of vectors."""
    rows = data.table("reconstruction.csv")
    tables = data.experiment.preset.reconstructions
    run = set(rows["table"][rows["error"].notna()])
    heights = [HEIGHT if name in run else EMPTY for name in tables] or [HEIGHT]
    figure = style.figure(7.2, sum(heights) + 0.3)
    axes = figure.subplots(len(heights), 2, squeeze=False, height_ratios=heights)
    forms = list(dict.fromkeys(form for table in tables.values() for form in table.forms))
    for panels, (name, table) in zip(axes, tables.items(), strict=False):
        here = rows[(rows["table"] == name) & rows["error"].notna()]
        for panel, (column, called) in zip(panels, MEASURES.items(), strict=True):
            panel.set_title(table.title if column == "error" else "", loc="left")
            if here.empty:
                style.not_run(panel)
                continue
            _lines(panel, here, column, forms, style)
            panel.set_ylabel(called)
            panel.set_xlabel("bits a word")
    drawn = [panel for panel in axes.flat if panel.lines]
    if drawn:
        handles, labels = drawn[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(forms), fontsize=8)
    return figure


def _lines(
    panel: Axes, rows: pd.DataFrame, column: str, forms: Sequence[str], style: Style
) -> None:
    for form in forms:
        part = rows[rows["form"] == form].sort_values("bits_per_word")
        color = style.color(COLORS[forms.index(form) % len(COLORS)])
        panel.plot(
            part["bits_per_word"], part[column], "o-", ms=3.5, lw=1.1, color=color, label=form
        )
    style.bits_axis(panel)
    if column == "error":
        panel.set_yscale("log")
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_minor_locator(NullLocator())
        panel.yaxis.set_major_formatter("{x:g}")
