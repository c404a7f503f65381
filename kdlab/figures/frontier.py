"""The frontier: test perplexity against the size of the input embedding.

Size is all that must be stored, codes, code books, scales and tables, in bits a word; the full
table has 32 bits a number. Lower and further left is better. Points of one family are joined. A bar
is one standard deviation to each side where there are several seeds. The dashed line is the full
table. Empty diamonds are what others published; a triangle is a row above the panel, with its
perplexity.
"""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pydantic import Field

from kdcore.kinds import Section
from kdcore.size import FLOAT_BITS
from kdlab.drawing import FigureData, signs
from kdlab.figures import FigureSettings, Panel
from kdlab.style import Style

NUMERICS = 1
EXAMPLE: dict = {"tables": ["table1"], "panels": [{"title": "small", "models": ["small"]}]}
TABLES = ("frontier.csv",)
COLUMNS = [
    "model", "method", "label", "bits_per_word", "ratio", "n_seeds", "test_ppl_mean",
    "test_ppl_std", "valid_ppl_mean", "source", "valid_ppl_first",
]  # fmt: skip
MEASURED, NOT_RUN = "measured", "not run"
# A row so many times the best one of its panel is an arrow.
HIGHEST = 1.25
COLUMNS_OF_LEGEND = 3


class Published(Section):
    """What others measured on the same text and model, as they print it."""

    model: str = Field(description="entry of `models` beside whose rows it stands")
    label: str = Field(description="what the figure calls it")
    ratio: float = Field(gt=1, description="the full table's bits over those that are stored")
    test_ppl: float = Field(gt=1, description="test perplexity")
    source: str = Field(description="where it is printed, and where its ratio is from")


class Settings(FigureSettings):
    """Which rows, in which panels, beside which published numbers."""

    tables: list[str] = Field(min_length=1, description="entries of `tables` whose rows are shown")
    panels: list[Panel] = Field(min_length=1, description="panels, from above")
    published: list[Published] = Field([], description="numbers of others")

    @property
    def needs(self) -> frozenset[str]:
        """The tables."""
        return frozenset(f"{name}.csv" for name in self.tables)

    @property
    def names(self) -> list[tuple[str, str]]:
        """Entries of the preset that are named here: their section and name."""
        found = [("tables", name) for name in self.tables]
        found += [("models", name) for panel in self.panels for name in panel.models]
        return found + [("models", other.model) for other in self.published]


def tables(data: FigureData[Settings]) -> dict[str, pd.DataFrame]:
    """Every row of the tables with its size in bits, and the published numbers, by model."""
    settings = data.settings
    rows = pd.concat([data.table(f"{name}.csv") for name in settings.tables])
    rows = rows.drop_duplicates(["model", "method"])
    found = []
    models = [model for panel in settings.panels for model in panel.models]
    for model in models:
        bits = FLOAT_BITS * data.experiment.preset.models[model].hidden
        for row in rows[rows["model"] == model].to_dict("records"):
            known = {key: row[key] for key in COLUMNS if key in row}
            share = row["rate_with_codes"]
            if row["n_seeds"]:
                known |= {"bits_per_word": round(share * bits, 2), "ratio": round(1 / share, 2)}
            found.append({**known, "source": MEASURED if row["n_seeds"] else NOT_RUN})
        for other in settings.published:
            if other.model == model:
                found.append(
                    {
                        **other.model_dump(exclude={"model"}), "model": model,
                        "bits_per_word": round(bits / other.ratio, 2),
                        "test_ppl_mean": other.test_ppl,
                    }
                )  # fmt: skip
    table = pd.DataFrame(found, columns=COLUMNS).astype({"n_seeds": "Int64"})
    return {"frontier.csv": table}


def draw(data: FigureData[Settings], style: Style) -> Figure:
    """One panel below another, and below them what the colours are."""
    settings, rows = data.settings, tables(data)["frontier.csv"]
    figure, panels = style.panels([2.6] * len(settings.panels), 6.4, 0.4)
    signs_of = signs(data, settings.tables, style)
    shown: dict[str, bool] = {}
    for panel, of in zip(panels, settings.panels, strict=True):
        panel.set_title(of.title, loc="left")
        here = rows[rows["model"].isin(of.models) & rows["test_ppl_mean"].notna()]
        if here.empty:
            style.not_run(panel)
            continue
        panel.sharex(panels[0])
        for name, joined in _points(panel, here, data, signs_of, style).items():
            shown[name] = joined or shown.get(name, False)
        panel.set_ylabel("test perplexity")
    panels[-1].set_xlabel("bits a word of the input embedding")
    handles = []
    for name, joined in shown.items():
        color, marker = signs_of[name]
        line = "-" if joined else ""
        handles.append(Line2D([], [], marker=marker, ms=4, color=color, ls=line, label=name))
    if settings.published:
        others = Line2D([], [], marker="D", ms=4.5, mfc="none", ls="", color=style.grey)
        others.set_label("published by others")
        handles.append(others)
    lines = -(-len(handles) // COLUMNS_OF_LEGEND)
    figure.set_figheight(figure.get_figheight() + 0.3 + 0.18 * lines)
    figure.legend(
        handles=handles, loc="outside lower center", fontsize=8, ncols=COLUMNS_OF_LEGEND,
        handlelength=1.4, columnspacing=1.0,
    )  # fmt: skip
    return figure


def _points(
    panel: Axes,
    rows: pd.DataFrame,
    data: FigureData[Settings],
    signs_of: Mapping[str, tuple[str, str]],
    style: Style,
) -> dict[str, bool]:
    """Draw the rows of a panel; the families in it, and whether points of them are joined."""
    top = min(HIGHEST * rows["test_ppl_mean"].min(), rows["test_ppl_mean"].max())
    measured = rows[rows["source"] == MEASURED]
    methods = data.experiment.preset.methods
    families: dict[str, bool] = {}
    for name, part in measured.groupby(
        [methods[method].family or methods[method].label for method in measured["method"]],
        sort=False,
    ):
        color, marker = signs_of[str(name)]
        part = part.sort_values("bits_per_word")
        inside = part[part["test_ppl_mean"] <= top]
        panel.errorbar(
            inside["bits_per_word"], inside["test_ppl_mean"], yerr=inside["test_ppl_std"],
            fmt=f"{marker}-", ms=4, lw=1.1, capsize=2, color=color,
        )  # fmt: skip
        families[str(name)] = len(inside) > 1
        above = part[part["test_ppl_mean"] > top]
        panel.plot(above["bits_per_word"], [top] * len(above), "^", ms=5, color=color)
        for row in above.to_dict("records"):
            panel.annotate(
                f"{row['test_ppl_mean']:.0f}", (row["bits_per_word"], top), (5, -3),
                textcoords="offset points", fontsize=7, color=color,
            )  # fmt: skip
    names = data.experiment.preset.claims
    whole = measured[measured["method"] == (names.conventional if names else None)]
    for level in whole["test_ppl_mean"]:
        panel.axhline(level, color=style.grey, lw=0.8, ls="dashed", zorder=0)
    others = rows[~rows["source"].isin([MEASURED, NOT_RUN])]
    panel.plot(
        others["bits_per_word"], others["test_ppl_mean"], "D", ms=4.5, mfc="none", color=style.grey
    )
    for row in others.to_dict("records"):
        panel.annotate(
            row["label"], (row["bits_per_word"], row["test_ppl_mean"]), (4, 4),
            textcoords="offset points", fontsize=7, color=style.grey,
        )  # fmt: skip
    style.bits_axis(panel)
    low, _ = panel.get_ylim()
    panel.set_ylim(low - 0.01 * low, top + 0.02 * top)
    return families
