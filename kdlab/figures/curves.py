"""Learning curves: validation perplexity by epoch.

Seed 1 of every row, a panel for each language model of each table; lower is better. A curve that
leaves the panel at the top begins above it. Of one that stays above it, the legend says where it
ends.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import get_args

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pydantic import Field

from kdlab.addresses import Run
from kdlab.drawing import FigureData
from kdlab.figures import FigureSettings
from kdlab.preset import Line
from kdlab.style import Style
from kdlab.tables import least_perplexity, model_title

NUMERICS = 1
EXAMPLE: dict = {}
# A curve above so many times the median of all last values is cut.
HIGHEST = 2.0


class Settings(FigureSettings):
    """Which tables."""

    tables: list[str] | None = Field(
        None, description="entries of `tables` whose models are shown; null: all"
    )

    @property
    def needs(self) -> frozenset[str]:
        """Learning curves."""
        return frozenset({"curves"})

    @property
    def names(self) -> list[tuple[str, str]]:
        """The tables."""
        return [("tables", name) for name in self.tables or []]


@dataclass(frozen=True)
class Panel:
    """A panel: its title, and seed 1 of every method in it."""

    title: str
    runs: dict[str, Run]


def draw(data: FigureData[Settings], style: Style) -> Figure:
    """Panels in two columns; models without any curve are named below them."""
    drawn: list[tuple[Panel, dict[str, pd.DataFrame]]] = []
    absent: list[str] = []
    for panel in panels(data):
        curves = {
            method: pd.read_csv(data.curves[run.address])
            for method, run in panel.runs.items()
            if run.address in data.curves
        }
        if curves:
            drawn.append((panel, curves))
        else:
            absent.append(panel.title)
    across = max(1, min(2, len(drawn)))
    down = max(1, math.ceil(len(drawn) / across))
    figure = style.figure(3.7 * across, 3.0 * down)
    axes = figure.subplots(down, across, squeeze=False).flat
    for empty in axes[len(drawn) :]:
        empty.set_axis_off()
    for place, (panel, curves) in enumerate(drawn):
        axes[place].set_title(panel.title, loc="left")
        _curves(axes[place], curves, data, style)
        axes[place].set(xlabel="epoch", ylabel="" if place % across else "validation perplexity")
    if absent:
        figure.supxlabel(f"not run: {', '.join(absent)}", fontsize=8, color=style.grey)
    return figure


def _curves(
    axes: Axes, curves: dict[str, pd.DataFrame], data: FigureData[Settings], style: Style
) -> None:
    methods = data.experiment.preset.methods
    floor = least_perplexity(data.experiment)
    values = {name: curve["valid_ppl"].astype(float) for name, curve in curves.items()}
    highest = HIGHEST * median(value.iloc[-1] for value in values.values())
    taken: set[tuple[str, str]] = set()
    for name, curve in curves.items():
        color, last = style.color(methods[name].style.color), values[name].iloc[-1]
        # Where two methods are drawn alike, the second has a line of its own.
        lines = [methods[name].style.line, *get_args(Line)]
        line = next((line for line in lines if (color, line) not in taken), lines[0])
        taken.add((color, line))
        beyond = f" (ends at {last:.0f})" if last > highest else ""
        label = methods[name].label + beyond
        axes.plot(curve["epoch"], values[name], label=label, color=color, ls=line)
    if floor is not None:
        axes.axhline(floor, color=style.orange, lw=1, ls=":", label="entropy of the text")
    style.perplexity_axis(axes)
    top = max(value.max() for value in values.values())
    least = min([value.min() for value in values.values()] + ([floor] if floor else []))
    axes.set_ylim(0.97 * least, 1.03 * min(top, highest))
    for text in axes.legend(fontsize=6.5, loc="upper right").get_texts():
        text.set_parse_math(False)


def panels(data: FigureData[Settings]) -> Iterator[Panel]:
    """A panel for each language model of each table, the conventional row in each."""
    preset = data.experiment.preset
    names = list(preset.tables) if data.settings.tables is None else data.settings.tables
    claims = preset.claims
    for name in names:
        table = preset.tables[name]
        for model in table.models:
            methods = [row.method for row in table.rows_of(model)]
            if claims and claims.conventional not in methods:
                methods.insert(0, claims.conventional)
            own = "" if name == names[0] else f", {name}"
            runs = {method: data.experiment.model(model, method, 1) for method in methods}
            yield Panel(f"{model_title(data.experiment, model)}{own}", runs)
