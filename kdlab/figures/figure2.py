"""Figure 2: the effect of temperature on the softmax of two values.

y = 1 / (1 + exp(−x / T)): the lower the temperature T, the closer to a step.
"""

import pandas as pd
import torch
from matplotlib.figure import Figure

from kdlab.drawing import FigureData
from kdlab.figures import FigureSettings
from kdlab.style import Style

NUMERICS = 1
EXAMPLE: dict = {}
TABLES = ("figure2.csv",)
# The colour of each temperature's curve.
TEMPERATURES = {2.0: "green", 1.0: "blue", 0.5: "orange", 0.1: "red"}


class Settings(FigureSettings):
    """There is nothing to set."""


def tables(data: FigureData[Settings]) -> dict[str, pd.DataFrame]:
    """The curves: y at 401 values of x, a column for each temperature."""
    return {"figure2.csv": _points().map("{:.6g}".format)}


def draw(data: FigureData[Settings], style: Style) -> Figure:
    """One curve for each temperature."""
    points = _points()
    figure = style.figure(3.6, 2.7)
    axes = figure.subplots()
    for T, colour in TEMPERATURES.items():
        axes.plot(points["x"], points[f"T={T:g}"], color=style.color(colour), label=f"T = {T:g}")
    axes.set(xlabel="difference of the two logits, x", ylabel="weight of the first value, y")
    axes.legend(loc="upper left")
    return figure


def _points() -> pd.DataFrame:
    x = torch.linspace(-5, 5, 401, dtype=torch.float64)
    curves = {"x": x.numpy()}
    for T in TEMPERATURES:
        # The first of two values with logits (x, 0).
        logits = torch.stack([x, torch.zeros_like(x)], 1)
        curves[f"T={T:g}"] = torch.softmax(logits / T, 1)[:, 0].numpy()
    return pd.DataFrame(curves)
