"""One look for all figures: print size, colour-blind safe, the same bytes every time."""

import io
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import is_color_like, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator
from PIL import Image

from kdcore.errors import KDError
from kdcore.files import atomic_path

# Embedding a font in a PDF is not news.
logging.getLogger("fontTools").setLevel(logging.WARNING)

# Okabe and Ito's palette, and grey.
PALETTE = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "red": "#D55E00",
    "pink": "#CC79A7",
    "skyblue": "#56B4E9",
    "yellow": "#F0E442",
    "black": "#000000",
    "grey": "#666666",
}
# For names whose colours are alike. The triangle and the diamond mean other things.
MARKERS = ("o", "s", "v", "P", "X", "p", "*", "h")
# Colours nearer to each other than this, of sqrt(3) from black to white, are alike.
ALIKE = 0.4

# Marks of an axis of bits.
BITS = [2**i for i in range(2, 15)]

PARAMETERS: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 9,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "kdcore",
    "pdf.fonttype": 42,
}


class Style:
    """Colours and shapes that all figures have in common."""

    blue, orange, green, red, grey = (
        PALETTE[name] for name in ("blue", "orange", "green", "red", "grey")
    )

    def color(self, name: str) -> str:
        """A colour by its name in the palette, or as `#rrggbb`.

        Raises:
            KDError: it is neither.
        """
        if name in PALETTE:
            return PALETTE[name]
        if name.startswith("#") and is_color_like(name):
            return name
        raise KDError(f"color must be #rrggbb or one of {', '.join(PALETTE)}, got {name!r}")

    def markers(self, colors: Mapping[str, str]) -> dict[str, str]:
        """A marker for each name: a circle, or another where one before has a colour like it.

        Args:
            colors: as `color` gives them, by name.
        """
        found: dict[str, str] = {}
        for name, color in colors.items():
            taken = {found[other] for other in found if _alike(colors[other], color)}
            found[name] = next((sign for sign in MARKERS if sign not in taken), MARKERS[0])
        return found

    def figure(self, width: float, height: float) -> Figure:
        """An empty figure, its size in inches."""
        return Figure(figsize=(width, height))

    def panels(self, heights: list[float], width: float, spare: float) -> tuple[Figure, list[Axes]]:
        """A figure with panels below each other.

        Args:
            heights: of each panel, in inches.
            spare: inches for each panel's title and labels.
        """
        figure = self.figure(width, sum(heights) + spare * len(heights))
        axes = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)
        return figure, list(axes[:, 0])

    def not_run(self, panel: Axes) -> None:
        """Make an empty panel say so."""
        panel.set_axis_off()
        panel.text(0.5, 0.5, "not run", transform=panel.transAxes, ha="center", color=self.grey)

    def perplexity_axis(self, axes: Axes) -> None:
        """Make the vertical axis logarithmic, with plain numbers."""
        axes.set_yscale("log")
        axis = axes.yaxis
        axis.set_major_locator(_RoundNumbers())
        axis.set_major_formatter("{x:.0f}")
        axis.set_minor_locator(NullLocator())

    def bits_axis(self, axes: Axes) -> None:
        """Make the horizontal axis logarithmic, with powers of two as its numbers."""
        axes.set_xscale("log")
        axis = axes.xaxis
        axis.set_major_locator(FixedLocator(BITS))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter("{x:.0f}")


def _alike(one: str, other: str) -> bool:
    return math.dist(to_rgb(one), to_rgb(other)) < ALIKE


class _RoundNumbers(LogLocator):
    """Round numbers of a logarithmic axis, the closer the shorter it is.

    1, 2, 5, 10, … of a long one; 1, 1.1, 1.2, 1.4, … of one where curves end near its foot; of a
    very short one those of a linear axis.
    """

    def __init__(self) -> None:
        super().__init__(subs=(1, 2, 5))

    def tick_values(self, vmin: float, vmax: float) -> Any:
        if vmax > 5 * vmin:
            return super().tick_values(vmin, vmax)
        if vmax > 1.5 * vmin:
            return LogLocator(subs=(1, 1.1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 4, 5, 6, 8)).tick_values(
                vmin, vmax
            )
        return MaxNLocator(9, steps=[1, 2, 5, 10]).tick_values(vmin, vmax)


def parameters() -> Any:
    """A context in which Matplotlib draws in this style."""
    return matplotlib.rc_context(PARAMETERS)


def save(figure: Figure, png: Path, pdf: Path) -> None:
    """Write PNG for the screen and PDF for print, without dates in them.

    The PNG has a palette of 256 colours: lines and letters need no more, and it is a third as
    large.
    """
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=200)
    with atomic_path(png) as temporary, Image.open(drawn) as picture:
        few = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        few.save(temporary, format="png", optimize=True)
    with atomic_path(pdf) as temporary:
        nothing = {"CreationDate": None, "Producer": None, "Creator": None}
        figure.savefig(temporary, format="pdf", metadata=nothing)
