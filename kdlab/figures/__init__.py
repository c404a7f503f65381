"""Figures: one file a kind."""

from kdcore.kinds import Kinds

FIGURES = Kinds("kdlab.figures", "figure")
