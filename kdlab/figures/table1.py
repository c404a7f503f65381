"""A table as a picture: the perplexity of every row.

Means over seeds, with a bar of one standard deviation to each side where there are several;
diamonds are the paper's.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pydantic import Field

from kdlab.drawing import FigureData
from kdlab.figures import FigureSettings
from kdlab.style import Style
from kdlab.tables import model_title

NUMERICS = 1
EXAMPLE: dict = {}
ROW_HEIGHT = 0.2  # inches


class Settings(FigureSettings):
    """Which table."""

    table: str = Field("table1", description="entry of `tables`")

    @property
    def needs(self) -> frozenset[str]:
        """The table."""
        return frozenset({f"{self.table}.csv"})

    @property
    def names(self) -> list[tuple[str, str]]:
        """The table."""
        return [("tables", self.table)]


def draw(data: FigureData[Settings], style: Style) -> Figure:
    """One panel for each language model, as high as it has rows."""
    name = data.settings.table
    rows = data.table(f"{name}.csv")
    score = data.experiment.preset.tables[name].score
    parts = dict(list(rows.groupby("model", sort=False)))
    heights = [ROW_HEIGHT * len(part) for part in parts.values()]
    figure, panels = style.panels(heights, 5.6, 0.32)
    for panel, (model, part) in zip(panels, parts.items(), strict=True):
        panel.set_title(model_title(data.experiment, str(model)), loc="left")
        _rows(panel, part, score, data, style)
    panels[-1].set_xlabel({"test": "test perplexity", "valid": "validation perplexity"}[score])
    figure.set_size_inches(5.6, figure.get_figheight() + 0.55)
    _legend(figure, rows, style)
    return figure


def _rows(
    panel: Axes, part: pd.DataFrame, score: str, data: FigureData[Settings], style: Style
) -> None:
    names = []
    for place, row in enumerate(part.to_dict("records")):
        method = data.experiment.preset.methods[row["method"]]
        color = style.color(method.style.color)
        spread = row["test_ppl_std"] if score == "test" else None
        bar = None if pd.isna(spread) else spread
        panel.errorbar(
            row[f"{score}_ppl_mean"], place, xerr=bar, fmt="o", ms=5, capsize=2.5, color=color
        )
        panel.plot(row["paper_ppl"], place, "D", ms=4.5, mfc="none", color=style.grey)
        names.append(row["label"] if row["n_seeds"] else f"{row['label']} (not run)")
    panel.set_yticks(range(len(names)), names)
    for label in panel.get_yticklabels():
        label.set_parse_math(False)
    panel.grid(axis="y", visible=False)
    panel.set_ylim(len(names) - 0.5, -0.5)


def _legend(figure: Figure, rows: pd.DataFrame, style: Style) -> None:
    """Above the panels, so that no sign of it can be taken for data."""
    if rows["paper_ppl"].isna().all():
        return
    signs = [
        Line2D([], [], marker="o", ms=5, ls="", color=style.grey, label="measured"),
        Line2D([], [], marker="D", ms=4.5, mfc="none", ls="", color=style.grey, label="paper"),
    ]
    figure.legend(handles=signs, loc="outside upper right", ncols=2, fontsize=8)
