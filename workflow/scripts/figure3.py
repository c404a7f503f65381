"""Figure 3: (a, b) clustering by code learning; (c, d) perplexity against K and D.

Panels follow the paper's caption; its text names them the other way round.
"""

from pathlib import Path
from typing import Annotated

import _script
import matplotlib.pyplot as plt
import pandas as pd
import typer
from _figure import BLUE, GREY, ORANGE, RED, not_run, save
from matplotlib.axes import Axes

from kdcore.files import read_json, write_text
from kdlab.preset import Preset, load_preset

ARMS = {
    "ste+schedule": ("straight-through, schedule", BLUE),
    "ste+constant": ("straight-through, constant T", ORANGE),
    "soft+schedule": ("continuous codes, schedule", RED),
}


def main(
    clustering: Annotated[Path, typer.Option(help="curves of the arms")],
    measurements: Annotated[Path, typer.Option(help="table of all trained models")],
    settings: Annotated[Path, typer.Option(help="the preset, a JSON file")],
    png: Annotated[Path, typer.Option(help="output: figure for the screen")],
    pdf: Annotated[Path, typer.Option(help="output: figure for print")],
    sweep: Annotated[Path, typer.Option(help="output: perplexity by K and D")],
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    preset = load_preset(read_json(settings))
    curves = pd.read_csv(clustering)
    points, conventional = sweep_points(preset, pd.read_csv(measurements))
    write_text(sweep, points.to_csv(index=False))
    figure, ((a, b), (c, d)) = plt.subplots(2, 2, figsize=(7.2, 5.4))
    seeds = curves["seed"].nunique()
    _curves(a, curves, "loss")
    a.set(ylabel="squared loss per vector", yscale="log")
    a.set_title(f"(a) loss, {seeds} seed{'s' * (seeds > 1)}: mean and range", loc="left")
    a.legend(fontsize=7.5)
    _curves(b, curves, "nmi")
    b.set(ylabel="NMI with the true clusters", ylim=(0, 1.04))
    b.set_title("(b) agreement with the clusters", loc="left")
    table = preset.table1
    _sweep(c, points, conventional, "K", f"(c) K varied, D = {table.D}")
    _sweep(d, points, conventional, "D", f"(d) D varied, K = {table.K}")
    save(figure, png, pdf)


def sweep_points(preset: Preset, measured: pd.DataFrame) -> tuple[pd.DataFrame, float | None]:
    """Test perplexity by K and D, and the conventional model's; what was not run is absent."""
    chosen, table = preset.figure3.sweep, preset.table1
    here = measured[(measured["size"] == chosen.size) & (measured["seed"] <= chosen.seeds)]
    kd = here[(here["codes"] == chosen.codes) & (here["transform"] == chosen.transform)]
    parts = [
        kd[(kd["D"] == table.D) & kd["K"].isin(chosen.K)].sort_values("K").assign(swept="K"),
        kd[(kd["K"] == table.K) & kd["D"].isin(chosen.D)].sort_values("D").assign(swept="D"),
    ]
    columns = ["swept", "K", "D", "codes", "transform", "seed", "test_ppl"]
    points = pd.concat(parts)[columns].astype({"K": "Int64", "D": "Int64"})
    line = here[here["codes"] == "none"]["test_ppl"]
    return points, (float(line.mean()) if len(line) else None)


def _curves(axes: Axes, curves: pd.DataFrame, value: str) -> None:
    for arm, (name, colour) in ARMS.items():
        by_step = curves[curves["arm"] == arm].groupby("iteration")[value]
        mean = by_step.mean()
        axes.plot(mean.index, mean, color=colour, label=name)
        axes.fill_between(mean.index, by_step.min(), by_step.max(), color=colour, alpha=0.2, lw=0)
    kmeans = curves[curves["arm"] == "k-means"][value].mean()
    axes.axhline(kmeans, color=GREY, ls="--", lw=1, label="k-means (scikit-learn)")
    axes.set(xlabel="iteration (minibatches)")


def _sweep(
    axes: Axes, points: pd.DataFrame, conventional: float | None, name: str, title: str
) -> None:
    here = points[points["swept"] == name]
    if len(here):
        if conventional is not None:
            axes.axhline(conventional, color=GREY, ls="--", lw=1, label="conventional embedding")
        by_value = here.groupby(name)["test_ppl"]
        mean = by_value.mean()
        x = [int(value) for value in mean.index]
        axes.plot(x, mean.to_numpy(), color=BLUE, marker="o", ms=4, label="KD encoding")
        axes.fill_between(x, by_value.min(), by_value.max(), color=BLUE, alpha=0.2, lw=0)
        axes.set_xscale("log")
        axes.set_xticks(x, [str(value) for value in x])
        axes.minorticks_off()
        axes.legend(fontsize=7.5)
        axes.set(xlabel=name, ylabel="test perplexity")
    else:
        not_run(axes)
    axes.set_title(title, loc="left")


if __name__ == "__main__":
    _script.run(main)
