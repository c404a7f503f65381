"""Run times: when each job of one seed begins and ends, and the longest chain of jobs.

Every job has a machine of its own and begins as soon as what it needs is there; times are means of
those that were measured. No number of machines makes the whole shorter than the chain in orange.
Learning codes takes minutes; where its time was not recorded, it is left out.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pydantic import Field

from kdlab.drawing import FigureData
from kdlab.figures import FigureSettings
from kdlab.run_times import SEEDS, critical_path, jobs, totals
from kdlab.style import Style

NUMERICS = 1
EXAMPLE: dict = {}
TABLES = ("run_times.csv", "run_times_total.csv")
BAR_HEIGHT = 0.19  # inches


class Settings(FigureSettings):
    """Which table."""

    table: str = Field("table1", description="entry of `tables`")

    @property
    def needs(self) -> frozenset[str]:
        """Times of trained models, and of code learning."""
        return frozenset({"measurements.csv", "benchmarks"})

    @property
    def names(self) -> list[tuple[str, str]]:
        """The table."""
        return [("tables", self.table)]


def draw(data: FigureData[Settings], style: Style) -> Figure:
    """One panel for each language model, as high as it has jobs."""
    frames = _frames(data)
    heights = [BAR_HEIGHT * max(1, len(frame)) for frame in frames.values()]
    figure, panels = style.panels(heights, 6.4, 0.62)
    for panel, (model, frame) in zip(panels, frames.items(), strict=True):
        _bars(panel, model, frame, style)
    return figure


def tables(data: FigureData[Settings]) -> dict[str, pd.DataFrame]:
    """The jobs in time, and the hours of each language model for one and for ten seeds."""
    frames = _frames(data)
    rows = [
        row
        for model, frame in frames.items()
        for row in totals(data.experiment, data.settings.table, model, frame)
    ]
    return {
        "run_times.csv": pd.concat(frames.values()),
        "run_times_total.csv": pd.DataFrame(rows),
    }


def _frames(data: FigureData[Settings]) -> dict[str, pd.DataFrame]:
    measured, table = data.table("measurements.csv"), data.settings.table
    learning = {
        address: float(pd.read_csv(path, sep="\t")["s"].mean())
        for address, path in data.benchmarks.items()
    }
    return {
        model: jobs(data.experiment, table, model, measured, learning)
        for model in data.experiment.preset.tables[table].models
    }


def _bars(panel: Axes, model: str, frame: pd.DataFrame, style: Style) -> None:
    panel.set_title(f"{model} model", loc="left")
    if not len(frame):
        style.not_run(panel)
        return
    path = critical_path(frame)
    end = float(frame["end"].max())
    unit, text = (3600, "hours") if end > 7200 else (60, "minutes")
    for place, row in enumerate(frame.to_dict("records")):
        color = style.orange if row["job"] in path else style.blue
        panel.barh(place, row["seconds"] / unit, left=row["begin"] / unit, height=0.7, color=color)
    panel.set_yticks(range(len(frame)), frame["job"].tolist())
    panel.set_ylim(len(frame) - 0.5, -0.5)
    panel.grid(axis="y", visible=False)
    hours = SEEDS * frame.groupby("device")["seconds"].sum() / 3600
    sums = " and ".join(f"{hours[name]:.1f} {name.upper()} hours" for name in hours.index)
    panel.set_title(f"{SEEDS} seeds: {sums}", loc="right", color=style.grey, fontsize=8)
    panel.set_xlabel(f"{text} since the start; longest chain (orange) {end / unit:.1f} {text}")
