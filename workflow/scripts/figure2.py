"""Figure 2: the effect of temperature on the softmax for K = 2, y = 1 / (1 + exp(−x / T))."""

from pathlib import Path
from typing import Annotated

import _script
import matplotlib.pyplot as plt
import pandas as pd
import torch
import typer
from _figure import BLUE, GREEN, ORANGE, RED, save

from kdcore.files import write_text

TEMPERATURES = {2.0: GREEN, 1.0: BLUE, 0.5: ORANGE, 0.1: RED}


def main(
    png: Annotated[Path, typer.Option(help="output: figure for the screen")],
    pdf: Annotated[Path, typer.Option(help="output: figure for print")],
    table: Annotated[Path, typer.Option(help="output: the curves")],
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    x = torch.linspace(-5, 5, 401, dtype=torch.float64)
    curves = {"x": x.numpy()}
    for T in TEMPERATURES:
        # The first of two values with logits (x, 0).
        logits = torch.stack([x, torch.zeros_like(x)], 1)
        curves[f"T={T:g}"] = torch.softmax(logits / T, 1)[:, 0].numpy()
    points = pd.DataFrame(curves)
    write_text(table, points.to_csv(index=False, float_format="%.6g"))
    figure, axes = plt.subplots(figsize=(3.6, 2.7))
    for T, colour in TEMPERATURES.items():
        axes.plot(points["x"], points[f"T={T:g}"], color=colour, label=f"T = {T:g}")
    axes.set(xlabel="difference of the two logits, x", ylabel="weight of the first value, y")
    axes.legend(loc="upper left")
    save(figure, png, pdf)


if __name__ == "__main__":
    _script.run(main)
