"""One look for all figures: print size, colour-blind safe, the same bytes every time."""

import logging
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from kdcore.files import atomic_path

# Embedding a font in a PDF is not news.
logging.getLogger("fontTools").setLevel(logging.WARNING)

# Okabe and Ito's palette.
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#666666"

plt.rcParams.update(
    {
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "#dddddd",
        "grid.linewidth": 0.6,
        "legend.frameon": False,
        "lines.linewidth": 1.6,
        "figure.constrained_layout.use": True,
        "svg.hashsalt": "kdcore",
        "pdf.fonttype": 42,
    }
)


def save(figure: Figure, png: Path, pdf: Path) -> None:
    """Write PNG for the screen and PDF for print, without dates in them."""
    with atomic_path(png) as temporary:
        figure.savefig(temporary, format="png", dpi=200, metadata={"Software": None})
    with atomic_path(pdf) as temporary:
        nothing = {"CreationDate": None, "Producer": None, "Creator": None}
        figure.savefig(temporary, format="pdf", metadata=nothing)
    plt.close(figure)
