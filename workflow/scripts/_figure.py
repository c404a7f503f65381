"""One look for all figures: print size, colour-blind safe, the same bytes every time."""

import logging
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from kdcore.files import atomic_path

# Embedding a font in a PDF is not news.
logging.getLogger("fontTools").setLevel(logging.WARNING)

# Okabe and Ito's palette.
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#666666"
PINK = "#CC79A7"
# How codes were made, and how they are composed, in every figure.
CODES = {"none": GREY, "random": RED, "linear": BLUE, "lstm": GREEN, "refined": PINK}
TRANSFORM_DASHES = {"none": "-", "linear": "-", "lstm": "--"}

plt.rcParams.update(
    {
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#dddddd",
        "grid.linewidth": 0.6,
        "legend.frameon": False,
        "lines.linewidth": 1.6,
        "figure.constrained_layout.use": True,
        "svg.hashsalt": "kdcore",
        "pdf.fonttype": 42,
    }
)


def not_run(panel: Axes) -> None:
    """An empty panel that says so."""
    panel.set_axis_off()
    panel.text(0.5, 0.5, "not run", transform=panel.transAxes, ha="center", color=GREY)


class _RoundNumbers(LogLocator):
    """1, 2, 5, 10, … of a logarithmic axis; on a short one, as on a linear one."""

    def __init__(self):
        super().__init__(subs=(1, 2, 5))

    def tick_values(self, vmin, vmax):
        if vmax > 5 * vmin:
            return super().tick_values(vmin, vmax)
        return MaxNLocator(9, steps=[1, 2, 5, 10]).tick_values(vmin, vmax)


def perplexity_axis(axis: Axis) -> None:
    """A logarithmic axis with plain numbers."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_locator(_RoundNumbers())
    axis.set_major_formatter("{x:.0f}")
    axis.set_minor_locator(NullLocator())


def save(figure: Figure, png: Path, pdf: Path) -> None:
    """Write PNG for the screen and PDF for print, without dates in them."""
    with atomic_path(png) as temporary:
        figure.savefig(temporary, format="png", dpi=200, metadata={"Software": None})
    with atomic_path(pdf) as temporary:
        nothing = {"CreationDate": None, "Producer": None, "Creator": None}
        figure.savefig(temporary, format="pdf", metadata=nothing)
    plt.close(figure)
