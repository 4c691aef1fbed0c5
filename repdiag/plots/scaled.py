"""Axes with our ticks, lines and keys: what the figures with two scales share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from repdiag.plots.series import Band, Series
from repdiag.plots.style import ACCENT, GREEN, INK, PURPLE, SOFT
from repdiag.report.svg import nice_ticks, tick_labels

KINDS: tuple[dict[str, Any], ...] = (
    {"color": ACCENT, "linestyle": "-", "linewidth": 1.4, "zorder": 5},
    {"color": SOFT, "linestyle": (0, (4, 2)), "linewidth": 1.1, "zorder": 4},
    {"color": GREEN, "linestyle": (0, (1, 1.2)), "linewidth": 1.3, "zorder": 4},
    {"color": PURPLE, "linestyle": (0, (5, 1.5, 1, 1.5)), "linewidth": 1.1, "zorder": 4},
    {"color": INK, "linestyle": (0, (8, 2)), "linewidth": 0.8, "zorder": 4},
)
"""How a line of each kind looks: they differ in dash as well as in color."""


def framed(
    axes: Axes,
    xlim: tuple[float, float],
    ylim: tuple[float, float],
    xlabel: str,
    ylabel: str,
    *,
    xunit: str = "",
    yunit: str = "",
    about: int = 5,
) -> None:
    """Limits, titles, round ticks with units, and thin lines across."""
    axes.set_xlim(*xlim)
    axes.set_ylim(*ylim)
    for axis, limits, unit in ((axes.xaxis, xlim, xunit), (axes.yaxis, ylim, yunit)):
        ticks = nice_ticks(*limits, about)
        axis.set_ticks(ticks, labels=tick_labels(ticks, unit))
    axes.grid(axis="y")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)


def room(values: Iterable[Any], floor: float = 0.0, most: float = 1.0) -> tuple[float, float]:
    """Limits around shares, with less room above `most` than elsewhere."""
    found = np.concatenate([np.atleast_1d(np.asarray(v, np.float64)) for v in values])
    found = found[np.isfinite(found)]
    low, high = float(found.min()), float(found.max())
    span = high - low or 0.1
    return max(floor, low - 0.08 * span), min(most + 0.05 * span, high + 0.08 * span)


def drawn(axes: Axes, series: Sequence[Series], dots: bool = True) -> None:
    """Lines, what the figure is about on top of them and with a dot at each of its points."""
    for one in reversed(series):
        axes.plot(one.x, one.y, label=one.said, **KINDS[one.kind])
        if dots and one.kind == 0:
            axes.plot(one.x, one.y, "o", color=ACCENT, markersize=2.6, zorder=6)


def shaded(axes: Axes, area: Band, color: str = ACCENT, alpha: float = 0.18) -> None:
    """An interval as an area; nothing where there is none."""
    if area.x.size:
        axes.fill_between(area.x, area.low, area.high, color=color, alpha=alpha, linewidth=0, zorder=2)


def entry(kind: int) -> Line2D:
    """A piece of a line of a kind, for the key."""
    look = {name: value for name, value in KINDS[kind].items() if name != "zorder"}
    return Line2D([], [], marker="o" if kind == 0 else "", markersize=2.6, **look)
