"""Figure 3: clustering by code learning, and perplexity against K and D.

Panels follow the paper's caption; its text names them the other way round. (a, b) Codes with D = 1
learned for vectors in clusters: mean and range over seeds. (c, d) Test perplexity with one setting
varied; the dashed line is the conventional embedding, its mean over seeds as in the table.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pydantic import Field

from kdlab.drawing import FigureData
from kdlab.figures import FigureSettings
from kdlab.style import Style
from kdlab.sweeps import columns_of
from kdlab.tables import conventional_perplexity

NUMERICS = 1
EXAMPLE: dict = {}
ARMS = {
    "ste+schedule": ("straight-through, schedule", "blue"),
    "ste+constant": ("straight-through, constant T", "orange"),
    "soft+schedule": ("continuous codes, schedule", "red"),
}


class Settings(FigureSettings):
    """Which sweep, beside which table."""

    sweep: str = Field("figure3", description="entry of `sweeps`, for panels c and d")
    table: str = Field(
        "table1", description="entry of `tables` that has the conventional embedding"
    )

    @property
    def needs(self) -> frozenset[str]:
        """The clustering experiment, the sweep, and the table."""
        return frozenset({"figure3_clustering.csv", f"{self.sweep}_sweep.csv", f"{self.table}.csv"})

    @property
    def names(self) -> list[tuple[str, str]]:
        """The sweep and the table."""
        return [("sweeps", self.sweep), ("tables", self.table)]


def draw(data: FigureData[Settings], style: Style) -> Figure:
    """Two panels of clustering, and one for each setting that is varied."""
    name, experiment = data.settings.sweep, data.experiment
    held, sweep = experiment.held(name), experiment.preset.sweeps[name]
    called = columns_of(sweep)
    curves = data.table("figure3_clustering.csv")
    points = data.table(f"{name}_sweep.csv")
    line = conventional_perplexity(
        experiment, data.table(f"{data.settings.table}.csv"), sweep.model
    )
    down = 1 + (len(called) + 1) // 2
    figure = style.figure(7.2, 2.7 * down)
    axes = figure.subplots(down, 2).flat
    seeds = curves["seed"].nunique()
    loss, nmi, *varied = axes
    _curves(loss, curves, "loss", style)
    loss.set(ylabel="squared loss per vector", yscale="log")
    loss.set_title(f"(a) loss, {seeds} seed{'s' * (seeds > 1)}: mean and range", loc="left")
    loss.legend(fontsize=7.5)
    _curves(nmi, curves, "nmi", style)
    nmi.set(ylabel="NMI with the true clusters", ylim=(0, 1.04))
    nmi.set_title("(b) agreement with the clusters", loc="left")
    for letter, (panel, (path, column)) in enumerate(
        zip(varied, called.items(), strict=False), start=ord("c")
    ):
        others = "".join(f", {called[p]} = {v}" for p, v in held.items() if p != path)
        panel.set_title(f"({chr(letter)}) {column} varied{others}", loc="left")
        _varied(panel, points[points["swept"] == column], column, line, data, style)
    for empty in varied[len(called) :]:
        empty.set_axis_off()
    return figure


def _curves(axes: Axes, curves: pd.DataFrame, value: str, style: Style) -> None:
    for arm, (name, colour) in ARMS.items():
        by_step = curves[curves["arm"] == arm].groupby("iteration")[value]
        mean, color = by_step.mean(), style.color(colour)
        axes.plot(mean.index, mean, color=color, label=name)
        axes.fill_between(mean.index, by_step.min(), by_step.max(), color=color, alpha=0.2, lw=0)
    kmeans = curves[curves["arm"] == "k-means"][value].mean()
    axes.axhline(kmeans, color=style.grey, ls="--", lw=1, label="k-means (scikit-learn)")
    axes.set(xlabel="iteration (minibatches)")


def _varied(
    axes: Axes,
    here: pd.DataFrame,
    column: str,
    line: float | None,
    data: FigureData[Settings],
    style: Style,
) -> None:
    if not len(here):
        style.not_run(axes)
        return
    methods = data.experiment.preset.methods
    claims = data.experiment.preset.claims
    if line is not None and claims:
        label = methods[claims.conventional].label
        axes.axhline(line, color=style.grey, ls="--", lw=1, label=label)
    method = methods[here["method"].iloc[0]]
    by_value = here.groupby(column)["test_ppl"]
    mean, color = by_value.mean(), style.color(method.style.color)
    x = list(mean.index)
    axes.plot(x, mean.to_numpy(), color=color, marker="o", ms=4, label=method.label)
    axes.fill_between(x, by_value.min(), by_value.max(), color=color, alpha=0.2, lw=0)
    if min(x) > 0:
        axes.set_xscale("log")
    axes.set_xticks(x, [f"{value:g}" for value in x])
    axes.minorticks_off()
    axes.legend(fontsize=7.5)
    axes.set(xlabel=column, ylabel="test perplexity")
