"""Figure 1: a row of a table, and the same word's vector composed from its KD code.

Drawn from Table 2's word vectors, codes and decoder: what is shown are their numbers.
"""

from pathlib import Path
from typing import Annotated

import _script
import matplotlib.pyplot as plt
import torch
import typer
from _figure import BLUE, GREY, RED, save
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, Rectangle
from table2 import SHOWN_CODES

from kdcore.codes import Codes
from kdcore.decoder import load_decoder
from kdcore.transforms import Transform
from kdcore.vectors import WordVectors
from kdlab.measures import tightest_codes

ROWS = 9  # of the table, around the word
POSITIONS = 4  # of the code; the rest is left out


def main(
    vectors: Annotated[Path, typer.Option(help="word vectors")],
    codes: Annotated[Path, typer.Option(help="codes learned from them")],
    decoder: Annotated[Path, typer.Option(help="the transform learned with the codes")],
    png: Annotated[Path, typer.Option(help="output: for the screen")],
    pdf: Annotated[Path, typer.Option(help="output: for print")],
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    words, code, transform = WordVectors.load(vectors), Codes.load(codes), load_decoder(decoder)
    groups = code.groups()
    shown = tightest_codes(words.vectors, groups)[:SHOWN_CODES]
    word = min(groups[c][0] for c in shown) if shown else 0
    figure = plt.figure(figsize=(7.2, 4.0))
    left, middle, right = figure.subfigures(1, 3, width_ratios=(1.0, 1.15, 0.85))
    limit = float(words.vectors[:ROWS].abs().quantile(0.98))
    _one_hot(left, words, word, limit)
    _kd(middle, words, code, transform, word, limit)
    _recurrent(right, code.format(word))
    save(figure, png, pdf)
    _script.log.info("%s, code %s", words.words[word], code.format(word))


def _heat(axes: Axes, values: torch.Tensor, limit: float, chosen: int | None = None) -> None:
    axes.imshow(values, cmap="PuOr", vmin=-limit, vmax=limit, aspect="auto", interpolation="none")
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.grid(visible=False)
    for side in axes.spines.values():
        side.set_visible(False)
    if chosen is not None:
        frame = Rectangle(
            (-0.5, chosen - 0.5), values.shape[1], 1, fill=False, ec=RED, lw=1.8, clip_on=False
        )
        axes.add_patch(frame)


def _one_hot(part, words: WordVectors, word: int, limit: float) -> None:
    """(a) The word's row of the whole table."""
    N, d = words.vectors.shape
    first = max(0, min(word - ROWS // 2, N - ROWS))
    table, vector = part.subplots(2, 1, height_ratios=(ROWS, 1))
    _heat(table, words.vectors[first : first + ROWS], limit, word - first)
    names = words.words[first : first + ROWS]
    table.set_yticks(range(len(names)), names, fontsize=8)
    for label in table.get_yticklabels():
        label.set_parse_math(False)
    table.set_title("(a) one-hot encoding", loc="left", fontsize=9)
    table.set_xlabel(f"⋮\n{N:,} × {d}\n= {N * d:,} numbers", fontsize=8)
    _heat(vector, words.vectors[word : word + 1], limit)
    vector.set_yticks([0], ["v"])
    vector.set_xlabel("its row", fontsize=8, color=GREY)


def _kd(part, words, code: Codes, transform: Transform, word: int, limit: float) -> None:
    """(b) The chosen row of each position's matrix, and the vector that they compose."""
    symbols = code.tensor()[word]
    D = min(code.D, POSITIONS)
    W = transform.W.detach()
    panels = part.subplots(D + 2, 1, height_ratios=[*[2] * D, 1, 1])
    small = float(W.abs().quantile(0.98))
    for j, panel in enumerate(panels[:D]):
        _heat(panel, W[min(j, len(W) - 1)], small, int(symbols[j]))
        panel.set_yticks([int(symbols[j])], [str(int(symbols[j]))], fontsize=8, color=RED)
        panel.set_ylabel(f"$W^{j + 1}$", rotation=0, ha="right", va="center")
    code_text = code.format(word)
    panels[0].set_title(f"(b) KD encoding: {code_text}", loc="left", fontsize=9)
    rest = "" if D == code.D else f"{code.D - D} more positions; "
    panels[D - 1].set_xlabel(
        f"{rest}{transform.parameter_count():,} numbers for all words", fontsize=8
    )
    for panel, values, name in (
        (panels[-2], transform.table(symbols[None]), "f(W)"),
        (panels[-1], words.vectors[word : word + 1], "v"),
    ):
        _heat(panel, values, limit)
        panel.set_yticks([0], [name])
    panels[-1].set_xlabel(
        f"composed, and “{words.words[word]}” itself", fontsize=8, color=GREY, parse_math=False
    )


def _recurrent(part, code: str) -> None:
    """(c) The LSTM transform, unrolled over the code."""
    symbols = code.split("-")[:POSITIONS]
    axes = part.subplots()
    axes.set_axis_off()
    axes.set_title("(c) f as a recurrent network", loc="left", fontsize=9)
    axes.set(xlim=(-0.6, 2.6), ylim=(-1.2, len(symbols) + 0.2))

    def box(x: float, y: float, text: str, colour: str) -> None:
        place = FancyBboxPatch((x - 0.42, y - 0.24), 0.84, 0.48, boxstyle="round,pad=0.02",
                               fc="white", ec=colour, lw=1.2)  # fmt: skip
        axes.add_patch(place)
        axes.text(x, y, text, ha="center", va="center", fontsize=9)

    def arrow(start: tuple, end: tuple) -> None:
        style = {"arrowstyle": "-|>", "color": GREY, "lw": 1, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", end, start, arrowprops=style)

    for j, symbol in enumerate(symbols):
        y = len(symbols) - 1 - j
        box(0, y, f"$W^{j + 1}_{{{symbol}}}$", RED)
        box(1.15, y, f"$h_{j + 1}$", BLUE)
        arrow((0.46, y), (0.71, y))
        arrow((1.59, y), (2.15, y))
        axes.plot([2.15, 2.15], [y, -0.62], color=GREY, lw=1)
        if j:
            arrow((1.15, y + 0.74), (1.15, y + 0.28))
    arrow((2.15, -0.5), (2.15, -0.78))
    axes.text(2.15, -1.0, r"$v = (\sum_j h_j)^{\mathsf{T}} H$", ha="right", va="center", fontsize=9)


if __name__ == "__main__":
    _script.run(main)
