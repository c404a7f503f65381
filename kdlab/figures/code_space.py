"""The space of Table 2's codes: a tree of all words by their codes.

Index by index from top to bottom; a box is as wide as its words are many, its colour their mean
cosine similarity, grey where a word has its code for itself. Below, words of the tightest codes.
"""

from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection
from matplotlib.colors import Normalize, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from kdcore.codes import Codes
from kdlab.drawing import FigureData, Words
from kdlab.figures import FigureSettings
from kdlab.measures import directions, mean_cosine
from kdlab.style import Style
from kdlab.table2 import shown_codes

NUMERICS = 1
EXAMPLE: dict = {}
TABLES = ("neighbours.csv",)
SHOWN_WORDS = 4
NEIGHBOURS = 8
# A word that has its code for itself.
SINGLE = to_rgba("#dddddd")


class Settings(FigureSettings):
    """There is nothing to set."""

    @property
    def needs(self) -> frozenset[str]:
        """Words with vectors and codes."""
        return frozenset({"words"})


def draw(data: FigureData[Settings], style: Style) -> Figure:
    """The tree, and some words below it."""
    words = data.words
    groups = words.codes.groups()
    figure = style.figure(7.2, 4.4)
    axes = figure.subplots()
    scale = ScalarMappable(Normalize(0, 1), "cividis")
    places = _tree(axes, words, scale)
    leaves = [
        (places[code], code, [words.vectors.words[i] for i in groups[code]])
        for code in sorted(shown_codes(words.vectors, words.codes))
    ]
    _labels(axes, leaves, words.codes, style)
    figure.colorbar(
        scale, ax=axes, fraction=0.03, label="mean cosine similarity of the words below"
    )
    return figure


def _tree(axes: Axes, words: Words, scale: ScalarMappable) -> dict[str, float]:
    """Draw the tree, a box as wide as its words are many; the middle of each leaf by its code."""
    codes = words.codes
    indices = codes.tensor().numpy()
    order = np.lexsort(indices.T[::-1])
    unit = directions(words.vectors.vectors).double()[torch.from_numpy(order)]
    sums = torch.cat([torch.zeros(1, unit.shape[1]), unit.cumsum(0)])
    boxes, colours, places = [], [], {}
    for level in range(codes.D + 1):
        prefix = indices[order, :level]
        starts = np.r_[0, 1 + np.flatnonzero((prefix[1:] != prefix[:-1]).any(1)), len(order)]
        for start, end in pairwise(starts.tolist()):
            n = end - start
            boxes.append(Rectangle((start, -level - 1), n, 0.94))
            alike = mean_cosine(sums[end] - sums[start], n) if n > 1 else None
            colours.append(SINGLE if alike is None else scale.to_rgba(np.array(max(0.0, alike))))
            if level == 1:
                text = f"{prefix[start][0]}-…"
                axes.text((start + end) / 2, -1.53, text, ha="center", va="center", color="w")
            if level == codes.D:
                places[codes.format(int(order[start]))] = (start + end) / 2
    axes.add_collection(PatchCollection(boxes, facecolor=colours, lw=0))
    names = ["all words", "1 index", *(f"{level} indices" for level in range(2, codes.D + 1))]
    axes.set_yticks([-level - 0.53 for level in range(codes.D + 1)], names)
    axes.set(xlim=(0, len(order)), xticks=[])
    axes.grid(visible=False)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    return places


def _labels(
    axes: Axes, leaves: list[tuple[float, str, list[str]]], codes: Codes, style: Style
) -> None:
    """Some leaves' words, spread out below the tree."""
    bottom = -codes.D - 1.0
    for k, (place, code, members) in enumerate(leaves):
        x = (k + 0.5) / len(leaves) * len(codes)
        axes.plot([place, x], [bottom, bottom - 0.7], color=style.grey, lw=0.6, clip_on=False)
        text = f"{code}  " + " ".join(members[:SHOWN_WORDS])
        # Words may hold dollar signs, which are not formulas here.
        axes.text(
            x, bottom - 0.8, text, rotation=90, ha="center", va="top", fontsize=7, parse_math=False
        )
    axes.set_ylim(bottom - 4.2, 0)


def tables(data: FigureData[Settings]) -> dict[str, pd.DataFrame]:
    """For some words, the most frequent words that share all, all but one, … positions."""
    words, codes = data.words.vectors.words, data.words.codes
    groups, indices = codes.groups(), codes.tensor()
    rows = []
    for i in (groups[code][0] for code in sorted(shown_codes(data.words.vectors, codes))):
        shared = (indices == indices[i]).sum(1)
        shared[i] = -1
        for s in range(codes.D, max(0, codes.D - 3), -1):
            found = torch.nonzero(shared == s).flatten().tolist()[:NEIGHBOURS]
            rows.append((words[i], codes.format(i), s, " ".join(words[j] for j in found)))
    columns = ["word", "code", "shared_positions", "neighbours"]
    return {"neighbours.csv": pd.DataFrame(rows, columns=columns)}
