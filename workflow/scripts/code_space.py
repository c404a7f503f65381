"""A picture of Table 2's code space: the tree of codes, and a word's nearest neighbours in it."""

from itertools import pairwise
from pathlib import Path
from typing import Annotated

import _script
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import typer
from _figure import GREY, save
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection
from matplotlib.colors import Normalize, to_rgba
from matplotlib.patches import Rectangle
from table2 import SHOWN_CODES

from kdcore.codes import Codes
from kdcore.files import write_text
from kdcore.vectors import WordVectors
from kdlab.measures import directions, mean_cosine, tightest_codes

SHOWN_WORDS = 4
NEIGHBOURS = 8
# A word that has its code for itself.
SINGLE = to_rgba("#dddddd")


def main(
    vectors: Annotated[Path, typer.Option(help="word vectors")],
    codes: Annotated[Path, typer.Option(help="codes learned from them")],
    png: Annotated[Path, typer.Option(help="output: for the screen")],
    pdf: Annotated[Path, typer.Option(help="output: for print")],
    neighbours: Annotated[Path, typer.Option(help="output: words by shared positions")],
    log: Annotated[Path | None, typer.Option(help="log file")] = None,
) -> None:
    _script.start_log(log)
    words, learned = WordVectors.load(vectors), Codes.load(codes)
    groups = learned.groups()
    shown = sorted(tightest_codes(words.vectors, groups)[:SHOWN_CODES])
    figure, axes = plt.subplots(figsize=(7.2, 4.4))
    scale = ScalarMappable(Normalize(0, 1), "cividis")
    places = _tree(axes, words, learned, scale)
    _labels(axes, [(places[c], c, [words.words[i] for i in groups[c]]) for c in shown], learned)
    figure.colorbar(
        scale, ax=axes, fraction=0.03, label="mean cosine similarity of the words below"
    )
    save(figure, png, pdf)
    first = [groups[code][0] for code in shown]
    write_text(neighbours, _neighbours(words, learned, first).to_csv(index=False))


def _tree(axes: Axes, words: WordVectors, codes: Codes, scale: ScalarMappable) -> dict[str, float]:
    """Draw the tree, a box as wide as its words are many; the middle of each leaf by its code."""
    symbols = codes.tensor().numpy()
    order = np.lexsort(symbols.T[::-1])
    unit = directions(words.vectors).double()[order]
    sums = torch.cat([torch.zeros(1, unit.shape[1]), unit.cumsum(0)])
    boxes, colours, places = [], [], {}
    for level in range(codes.D + 1):
        prefix = symbols[order, :level]
        begins = np.r_[0, 1 + np.flatnonzero((prefix[1:] != prefix[:-1]).any(1)), len(order)]
        for begin, end in pairwise(begins):
            n = end - begin
            boxes.append(Rectangle((begin, -level - 1), n, 0.94))
            alike = mean_cosine(sums[end] - sums[begin], n) if n > 1 else None
            colours.append(SINGLE if alike is None else scale.to_rgba(max(0.0, alike)))
            if level == 1:
                symbol = f"{prefix[begin][0]}-…"
                axes.text((begin + end) / 2, -1.53, symbol, ha="center", va="center", color="w")
            if level == codes.D:
                places[codes.format(int(order[begin]))] = (begin + end) / 2
    axes.add_collection(PatchCollection(boxes, facecolor=colours, lw=0))
    names = ["all words", "1 symbol", *(f"{level} symbols" for level in range(2, codes.D + 1))]
    axes.set_yticks([-level - 0.53 for level in range(codes.D + 1)], names)
    axes.set(xlim=(0, len(order)), xticks=[])
    axes.grid(visible=False)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    return places


def _labels(axes: Axes, leaves: list[tuple[float, str, list[str]]], codes: Codes) -> None:
    """Some leaves' words, spread out below the tree."""
    bottom = -codes.D - 1.0
    for k, (place, code, members) in enumerate(leaves):
        x = (k + 0.5) / len(leaves) * len(codes)
        axes.plot([place, x], [bottom, bottom - 0.7], color=GREY, lw=0.6, clip_on=False)
        text = f"{code}  " + " ".join(members[:SHOWN_WORDS])
        # Words may hold dollar signs, which are not formulas here.
        axes.text(
            x, bottom - 0.8, text, rotation=90, ha="center", va="top", fontsize=7, parse_math=False
        )
    axes.set_ylim(bottom - 4.2, 0)


def _neighbours(words: WordVectors, codes: Codes, chosen: list[int]) -> pd.DataFrame:
    """The most frequent words that share all, all but one, … positions with the chosen ones."""
    symbols = codes.tensor()
    rows = []
    for i in chosen:
        shared = (symbols == symbols[i]).sum(1)
        shared[i] = -1
        for s in range(codes.D, max(0, codes.D - 3), -1):
            found = torch.nonzero(shared == s).flatten().tolist()[:NEIGHBOURS]
            near = " ".join(words.words[j] for j in found)
            rows.append((words.words[i], codes.format(i), s, near))
    return pd.DataFrame(rows, columns=["word", "code", "shared_positions", "neighbours"])


if __name__ == "__main__":
    _script.run(main)
