"""Figure 1: a row of a table, and the same word's vector composed from its KD code.

Drawn from Table 2's word vectors, codes and decoder: what is shown are their numbers. (a) A word's
row in the whole table; (b) its code chooses a row of each code book, f composes the vector, its own
one is below; orange is negative, violet positive. (c) An LSTM as f.
"""

from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from kdlab.drawing import FigureData, Words
from kdlab.figures import FigureSettings
from kdlab.style import Style
from kdlab.table2 import shown_codes

NUMERICS = 1
EXAMPLE: dict = {}
ROWS = 9  # of the table, around the word
POSITIONS = 4  # of the code; the rest is left out


class Settings(FigureSettings):
    """There is nothing to set."""

    @property
    def needs(self) -> frozenset[str]:
        """Words with vectors and codes."""
        return frozenset({"words"})


def draw(data: FigureData[Settings], style: Style) -> Figure:
    """Three panels beside each other."""
    words = data.words
    groups = words.codes.groups()
    shown = shown_codes(words.vectors, words.codes)
    word = min(groups[code][0] for code in shown) if shown else 0
    figure = style.figure(7.2, 4.0)
    parts: Any = figure.subfigures(1, 3, width_ratios=(1.0, 1.15, 0.85))
    left, middle, right = parts
    limit = float(words.vectors.vectors[:ROWS].abs().quantile(0.98))
    _one_hot(left, words, word, limit, style)
    _kd(middle, words, word, limit, style)
    _recurrent(right, words.codes.format(word), style)
    return figure


def _heat(
    axes: Axes, values: torch.Tensor, limit: float, style: Style, chosen: int | None = None
) -> None:
    axes.imshow(
        values.numpy(), cmap="PuOr", vmin=-limit, vmax=limit, aspect="auto", interpolation="none"
    )
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.grid(visible=False)
    for side in axes.spines.values():
        side.set_visible(False)
    if chosen is not None:
        frame = Rectangle(
            (-0.5, chosen - 0.5), values.shape[1], 1, fill=False, ec=style.red, lw=1.8,
            clip_on=False,
        )  # fmt: skip
        axes.add_patch(frame)


def _one_hot(part: Any, words: Words, word: int, limit: float, style: Style) -> None:
    """(a) The word's row of the whole table."""
    vectors = words.vectors.vectors
    N, d = vectors.shape
    first = max(0, min(word - ROWS // 2, N - ROWS))
    table, vector = part.subplots(2, 1, height_ratios=(ROWS, 1))
    _heat(table, vectors[first : first + ROWS], limit, style, word - first)
    names = words.vectors.words[first : first + ROWS]
    table.set_yticks(range(len(names)), names, fontsize=8)
    for label in table.get_yticklabels():
        label.set_parse_math(False)
    table.set_title("(a) one-hot encoding", loc="left", fontsize=9)
    table.set_xlabel(f"⋮\n{N:,} × {d}\n= {N * d:,} numbers", fontsize=8)
    _heat(vector, vectors[word : word + 1], limit, style)
    vector.set_yticks([0], ["v"])
    vector.set_xlabel("its row", fontsize=8, color=style.grey)


def _kd(part: Any, words: Words, word: int, limit: float, style: Style) -> None:
    """(b) The chosen row of each code book, and the vector that they compose."""
    codes, decoder, vectors = words.codes, words.decoder, words.vectors
    indices = codes.tensor()[word]
    shown = min(codes.D, POSITIONS)
    W = decoder.W.detach()
    panels = part.subplots(shown + 2, 1, height_ratios=[*[2] * shown, 1, 1])
    small = float(W.abs().quantile(0.98))
    for j, panel in enumerate(panels[:shown]):
        # Where all positions share one book there is no other.
        _heat(panel, W[min(j, len(W) - 1)], small, style, int(indices[j]))
        panel.set_yticks([int(indices[j])], [str(int(indices[j]))], fontsize=8, color=style.red)
        panel.set_ylabel(f"$W^{j + 1}$", rotation=0, ha="right", va="center")
    panels[0].set_title(f"(b) KD encoding: {codes.format(word)}", loc="left", fontsize=9)
    rest = "" if shown == codes.D else f"{codes.D - shown} more positions; "
    panels[shown - 1].set_xlabel(
        f"{rest}{decoder.parameter_count():,} numbers for all words", fontsize=8
    )
    for panel, values, name in (
        (panels[-2], decoder.compose_all(indices[None]), "f(W)"),
        (panels[-1], vectors.vectors[word : word + 1], "v"),
    ):
        _heat(panel, values, limit, style)
        panel.set_yticks([0], [name])
    panels[-1].set_xlabel(
        f"composed, and “{vectors.words[word]}” itself", fontsize=8, color=style.grey,
        parse_math=False,
    )  # fmt: skip


def _recurrent(part: Any, code: str, style: Style) -> None:
    """(c) The LSTM transform, unrolled over the code."""
    indices = code.split("-")[:POSITIONS]
    axes = part.subplots()
    axes.set_axis_off()
    axes.set_title("(c) f as a recurrent network", loc="left", fontsize=9)
    axes.set(xlim=(-0.6, 2.6), ylim=(-1.2, len(indices) + 0.2))

    def box(x: float, y: float, text: str, colour: str) -> None:
        place = FancyBboxPatch((x - 0.42, y - 0.24), 0.84, 0.48, boxstyle="round,pad=0.02",
                               fc="white", ec=colour, lw=1.2)  # fmt: skip
        axes.add_patch(place)
        axes.text(x, y, text, ha="center", va="center", fontsize=9)

    def arrow(start: tuple[float, float], end: tuple[float, float]) -> None:
        look = {"arrowstyle": "-|>", "color": style.grey, "lw": 1, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", end, start, arrowprops=look)

    for j, index in enumerate(indices):
        y = len(indices) - 1 - j
        box(0, y, f"$W^{j + 1}_{{{index}}}$", style.red)
        box(1.15, y, f"$h_{j + 1}$", style.blue)
        arrow((0.46, y), (0.71, y))
        arrow((1.59, y), (2.15, y))
        axes.plot([2.15, 2.15], [y, -0.62], color=style.grey, lw=1)
        if j:
            arrow((1.15, y + 0.74), (1.15, y + 0.28))
    arrow((2.15, -0.5), (2.15, -0.78))
    axes.text(2.15, -1.0, r"$v = (\sum_j h_j)^{\mathsf{T}} H$", ha="right", va="center", fontsize=9)
