"""Perplexity against reconstruction error: does a lower error make a better language model?

A point is a model retrained on codes. Across is the share of the variance of the pretrained vectors
that the learned decoder loses, every word weighing by how often it occurs; upwards the perplexity.
The retrained model does not use that decoder: it learns its own. ρ is Spearman's rank correlation
over the points of a panel. Codes that were learned before errors were recorded are left out.
"""

from typing import Literal

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pydantic import Field

from kdcore.files import read_json
from kdlab.drawing import FigureData, signs
from kdlab.figures import FigureSettings, Panel
from kdlab.style import Style

NUMERICS = 1
EXAMPLE: dict = {"tables": ["table1"], "panels": [{"title": "small", "models": ["small"]}]}
TABLES = ("errors.csv", "errors_correlation.csv")
ERRORS = ["error", "error_by_occurrence"]
KNOWN = [*ERRORS, "unique_codes"]
PERPLEXITY = {"test": "test perplexity", "valid": "validation perplexity"}
# Fewer points say nothing of a correlation.
FEWEST = 4
COLUMNS_OF_LEGEND = 2


class Settings(FigureSettings):
    """Which rows, in which panels."""

    tables: list[str] = Field(min_length=1, description="entries of `tables` whose rows are shown")
    panels: list[Panel] = Field(min_length=1, description="panels, from above")
    score: Literal["test", "valid"] = Field("test", description="of which text the perplexity is")

    @property
    def needs(self) -> frozenset[str]:
        """Perplexities, and the errors of codes."""
        return frozenset({"measurements.csv", "errors"})

    @property
    def names(self) -> list[tuple[str, str]]:
        """Entries of the preset that are named here: their section and name."""
        found = [("tables", name) for name in self.tables]
        return found + [("models", name) for panel in self.panels for name in panel.models]


def tables(data: FigureData[Settings]) -> dict[str, pd.DataFrame]:
    """Every retrained model whose codes' error is known, and the rank correlation by panel."""
    settings, experiment = data.settings, data.experiment
    score = f"{settings.score}_ppl"
    measured = data.table("measurements.csv").set_index("address")[["unique_codes", score]]
    rows, seen = [], set()
    for run in (run for name in settings.tables for run in experiment.table(name)):
        codes = run.inputs.get("codes")
        if codes is None or codes.address not in data.errors:
            continue
        if run.address in measured.index and run not in seen:
            seen.add(run)
            label = experiment.preset.methods[run.names["method"]].label
            rows.append(
                {**run.names, "label": label, **read_json(data.errors[codes.address]),
                 **measured.loc[run.address]}
            )  # fmt: skip
    found = pd.DataFrame(rows, columns=["model", "method", "label", "seed", *KNOWN, score])
    found = found.astype({"unique_codes": "Int64"})
    return {"errors.csv": found, "errors_correlation.csv": _correlations(settings, found, score)}


def _correlations(settings: Settings, rows: pd.DataFrame, score: str) -> pd.DataFrame:
    """Of the perplexity with each number that is known of the codes."""
    found = []
    for panel in settings.panels:
        here = rows[rows["model"].isin(panel.models)]
        ranks = here[[*KNOWN, score]].rank()
        numbers = {
            name: round(ranks[name].corr(ranks[score]), 3) if len(here) >= FEWEST else None
            for name in KNOWN
        }
        found.append({"panel": " ".join(panel.models), "models": len(here), **numbers})
    return pd.DataFrame(found)


def draw(data: FigureData[Settings], style: Style) -> Figure:
    """One panel below another, and below them what the colours are."""
    settings, made = data.settings, tables(data)
    figure, panels = style.panels([2.4] * len(settings.panels), 5.2, 0.5)
    methods, of_family = data.experiment.preset.methods, signs(data, settings.tables, style)
    shown: set[str] = set()
    for panel, of, at in zip(panels, settings.panels, range(len(panels)), strict=True):
        rows = made["errors.csv"]
        here = rows[rows["model"].isin(of.models)]
        correlation = made["errors_correlation.csv"]["error_by_occurrence"][at]
        told = "" if pd.isna(correlation) else f" (ρ = {correlation:.2f})"
        panel.set_title(of.title + told, loc="left")
        if here.empty:
            style.not_run(panel)
            continue
        for row in here.to_dict("records"):
            method = methods[row["method"]]
            family = method.family or method.label
            shown.add(family)
            color, marker = of_family[family]
            at_error = row["error_by_occurrence"], row[f"{settings.score}_ppl"]
            panel.plot(*at_error, marker, ms=4.5, color=color)
        panel.set_xlabel("reconstruction error of the pretrained vectors, by occurrence")
        panel.set_ylabel(PERPLEXITY[settings.score])
        panel.margins(0.12)
    handles = [
        Line2D([], [], color=color, marker=marker, ls="", label=name)
        for name, (color, marker) in of_family.items()
        if name in shown
    ]
    if handles:
        below = 0.2 * -(-len(handles) // COLUMNS_OF_LEGEND)
        figure.set_figheight(figure.get_figheight() + 0.2 + below)
        figure.legend(
            handles=handles, loc="outside lower center", fontsize=8, ncols=COLUMNS_OF_LEGEND
        )  # fmt: skip
    return figure
