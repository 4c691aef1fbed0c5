"""Which classes crowd which: the page's matrix, in its colors and its order."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure

from repdiag.plots.style import (
    FAINT,
    INK,
    RAMP,
    SMALL,
    TINY,
    WIDTHS,
    Width,
    foot,
    label,
    plain,
    sheet,
    styled,
)
from repdiag.report.heatmap import MAX_WRITTEN, share_steps
from repdiag.report.svg import tick_labels
from repdiag.types import Report

POINTS = 72.0  # of an inch
MAX_COLUMN = 20  # classes of which the names can be read in a column


def crowding(report: Report, *, width: Width | None = None) -> Figure | None:
    """Shares of each class's images that lie nearest to another class's center. None without such a matrix.

    The exhibits' order puts classes that crowd each other side by side. On the diagonal (gray, and on no scale)
    are the shares that lie nearest to their own center. `width` None: a column for up to 20 classes, else a page.
    """
    matrix = report.exhibits.matrix
    if matrix is None or len(matrix.classes) < 2:
        return None
    m = len(matrix.classes)
    off = ~np.eye(m, dtype=bool)
    steps = share_steps(matrix.nearer[off])
    if steps is None:
        return None
    width = width or ("column" if m <= MAX_COLUMN else "page")
    limit = 14 if width == "column" else 20
    names = [label(name, limit) for name in matrix.classes]
    longest = max(map(len, names))
    size = min(SMALL, 0.86 * 0.7 * WIDTHS[width] / m * POINTS)
    beside = 0.6 * longest * size / POINTS + 0.2  # inches: of the names and what they are, about
    side = WIDTHS[width] - beside - 0.5  # of the drawing
    with styled():
        figure = sheet(width, side + beside + 0.3, "Which center lies nearest")
        axes = figure.add_subplot()
        edges = np.array(steps.edges)
        colors = [RAMP[steps.color(s) - 1] for s in range(1, edges.size)]
        shown = np.ma.masked_where(~off | ~np.isfinite(matrix.nearer) | (matrix.nearer == 0), matrix.nearer)
        mesh = axes.pcolormesh(
            np.arange(m + 1), np.arange(m + 1), shown, cmap=ListedColormap(colors), edgecolors="white",
            norm=BoundaryNorm(np.r_[edges[:-1], edges[-1] + 1e-9], len(colors)), linewidth=0.4 if m <= 30 else 0.15,
        )  # fmt: skip
        for i in range(m):
            axes.fill([i, i + 1, i + 1, i], [i, i, i + 1, i + 1], color=FAINT, linewidth=0)
        if m <= MAX_WRITTEN:
            _written(axes, matrix.nearer, steps.colors(matrix.nearer), min(TINY, 0.34 * side / m * POINTS))
        axes.set_xlim(0, m)
        axes.set_ylim(m, 0)
        axes.set_aspect("equal", anchor="NW")
        for spine in axes.spines.values():
            spine.set_visible(False)
        places = np.arange(m) + 0.5
        axes.xaxis.set_ticks(places, labels=names, rotation=90, fontsize=size, color=INK)
        axes.yaxis.set_ticks(places, labels=names, fontsize=size, color=INK)
        axes.tick_params(length=0, pad=2)
        axes.set_xlabel("nearest to the center of")
        axes.set_ylabel("images of")
        bar = figure.colorbar(
            mesh, ax=axes, shrink=0.5, aspect=18, pad=0.02, anchor=(0, 1.0), spacing="uniform"
        )
        bar.set_ticks(list(edges), labels=tick_labels(list(edges), "share"))
        bar.ax.tick_params(length=0, labelsize=TINY)
        bar.outline.set_visible(False)
        words = "Share of a row's images; white: none; gray: nearest to their own center."
        if m < matrix.of:
            words += f" The {m} of {matrix.of:,} classes with the most images nearer to another center."
        foot(figure, width, (), words)
        return plain(figure)


def _written(axes: Axes, values: npt.NDArray[Any], colors: npt.NDArray[Any], size: float) -> None:
    """The percentage in each cell."""
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value) and value != 0:
            shown = f"{100 * value:.1f}" if value >= 0.0005 else "<0.1"
            light = i != j and colors[i, j] > 5
            axes.text(
                j + 0.5,
                i + 0.52,
                shown,
                ha="center",
                va="center",
                fontsize=size,
                color="white" if light else INK,
            )
