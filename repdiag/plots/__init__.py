"""Figures for papers, drawn by matplotlib: `draw` and `save`, and each figure as a function of its own.

Sized for one column (3.25 in) or two (6.75 in), Okabe-Ito's colors, text that stays text. Importing this package
loads matplotlib; nothing else in repdiag imports it.
"""

from repdiag.plots.bars import classes
from repdiag.plots.comparisons import changed_classes, differences
from repdiag.plots.curves import activation, compression, q_score, reliability, selective, spectrum
from repdiag.plots.forests import clusters, headline, predictors, stability
from repdiag.plots.matrix import crowding
from repdiag.plots.runs import training, trajectory
from repdiag.plots.saving import FORMATS, draw, names, save
from repdiag.plots.scatters import maps

figures = save
"""The name that `save` has in the package itself: `repdiag.figures(report, "folder")`."""

__all__ = [
    "FORMATS",
    "activation",
    "changed_classes",
    "classes",
    "clusters",
    "compression",
    "crowding",
    "differences",
    "draw",
    "figures",
    "headline",
    "maps",
    "names",
    "predictors",
    "q_score",
    "reliability",
    "save",
    "selective",
    "spectrum",
    "stability",
    "training",
    "trajectory",
]
