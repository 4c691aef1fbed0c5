"""Small multiples: the logs of a training, run by run, and the checkpoints of one run."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from repdiag.comparison.side_by_side import SideBySide
from repdiag.comparison.types import Comparison
from repdiag.plots.style import (
    ACCENT,
    ERROR,
    INK,
    SMALL,
    SOFT,
    TINY,
    Width,
    foot,
    label,
    plain,
    sheet,
    styled,
)
from repdiag.report.comparison_arms import Arm, Reading
from repdiag.report.comparison_curves import _NO_CURVES, _STATES, CURVES, _numbers, _power, _runs, _titled
from repdiag.report.numbers import ARROWS
from repdiag.report.svg import nice_ticks, tick_labels

ARMS: tuple[tuple[str, Any], ...] = (
    (SOFT, (0, (1.2, 1.6))),
    ("#8a4a9c", (0, (4, 2))),
    ("#0a7a52", "-"),
    ("#6a5a00", (0, (6, 2, 1.4, 2))),
    ("#2f5fd0", (0, (2, 2))),
    ("#b1126b", (0, (8, 2))),
    ("#8b4a2b", (0, (6, 1.4, 1.4, 1.4, 1.4, 1.4))),
    (INK, (0, (3.4, 3.4))),
)
"""Color and dash of an arm by its mark, as on the page; blue and orange are kept for effects."""


MAX_PANELS = 9


def whole(made: Comparison | SideBySide) -> Comparison:
    """The comparison of all arms."""
    return made.comparison if isinstance(made, SideBySide) else made


def training(made: Comparison | SideBySide, *, width: Width = "page") -> Figure | None:
    """Curves of the training logs, a line per run in the color of its arm. None where nothing was trained."""
    reading = Reading(whole(made))
    columns = reading.comparison.curves.columns
    epoch = _numbers(columns.get("epoch", columns.get("step")))
    if epoch is None or "arm" not in columns or not len(reading.comparison.curves):
        return None
    runs = _runs(reading, columns)
    panels = []
    known = {name: place for place, name in enumerate(CURVES)}
    for name in sorted((n for n in columns if n not in _NO_CURVES), key=lambda n: known.get(n, 99)):
        values = _numbers(columns[name])
        if values is None:
            continue
        values = values if name in _STATES else np.where(epoch == 0, np.nan, values)
        if np.isfinite(values).any():
            panels.append((name, values))
    left_out = [name for name, _ in panels[MAX_PANELS:]]
    panels = panels[:MAX_PANELS]
    if not panels:
        return None
    with styled():
        figure, axes = _multiples(len(panels), width, "Training")
        for one, (name, values) in zip(axes, panels, strict=True):
            title, unit = CURVES.get(name) or (label(_titled(name), 30), "")
            power = _power(values)
            if power:
                values, title = values / 10.0**power, f"{title} (in 1e{power})"
            for mark, _, rows in runs:
                at = rows[np.isfinite(values[rows]) & np.isfinite(epoch[rows])]
                color, dash = ARMS[mark]
                one.plot(epoch[at], values[at], color=color, linestyle=dash, linewidth=1.0)
                if at.size == 1:
                    one.plot(epoch[at], values[at], ".", color=color)
            _panel(one, title, unit)
        drawn = {mark for mark, *_ in runs}
        entries = [(label(arm.title, 34), _sample(arm)) for arm in reading.arms if arm.mark in drawn]
        words = "A line for each run; epoch 0 is the start."
        if left_out:
            words += f" Left out: {', '.join(label(_titled(n), 24) for n in left_out[:6])}"
            words += f" and {len(left_out) - 6} more." if len(left_out) > 6 else "."
        foot(figure, width, entries, words, 3 if width == "page" else 1)
        return plain(figure)


def _sample(arm: Arm) -> Line2D:
    color, dash = ARMS[arm.mark]
    return Line2D([], [], color=color, linestyle=dash, linewidth=1.2)


def _multiples(count: int, width: Width, title: str) -> tuple[Figure, list[Axes]]:
    """Small panels, three in a row of a page and one in a column."""
    across = min(count, 3 if width == "page" else 1)
    down = -(-count // across)
    figure = sheet(width, 0.3 + 1.45 * down, title)
    grid = figure.subplots(down, across, squeeze=False).ravel()
    for empty in grid[count:]:
        empty.set_axis_off()
    return figure, list(grid[:count])


def _panel(axes: Axes, title: str, unit: str, along: str = "epoch") -> None:
    """A small panel's title and round ticks; epochs are whole numbers."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high)
    ticks = nice_ticks(low, high, 4)
    axes.yaxis.set_ticks(ticks, labels=tick_labels(ticks, unit if unit in ("share", "%") else ""))
    first, last = axes.get_xlim()
    whole = [t for t in nice_ticks(first, last, 4) if t == round(t)]
    axes.xaxis.set_ticks(whole, labels=[f"{t:,.0f}" for t in whole])
    axes.grid(axis="y")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_title(title, loc="left", fontsize=SMALL, pad=3)
    axes.set_xlabel(along, fontsize=TINY)


def trajectory(made: Comparison | SideBySide, *, width: Width = "page") -> Figure | None:
    """The metrics of a run's checkpoints against the epoch, with intervals. None where there is no run."""
    course = made.trajectory if isinstance(made, SideBySide) else None
    if course is None:
        return None
    reading = Reading(whole(made))
    columns = course.values.columns
    names = list(dict.fromkeys([*course.followed, *(n for n in reading.specs if reading.headline(n))]))
    names = [name for name in names if name in reading.specs and (columns["metric"] == name).sum() > 1]
    if not names:
        return None
    kept, along = names[:MAX_PANELS], "epoch" if course.numbered else "checkpoint"
    with styled():
        figure, axes = _multiples(len(kept), width, "Along the run")
        for one, name in zip(axes, kept, strict=True):
            spec, rows = reading.specs[name], np.flatnonzero(columns["metric"] == name)
            x, y, low, high = (
                np.asarray(columns[c][rows], np.float64) for c in ("epoch", "value", "low", "high")
            )
            sure = np.isfinite(low) & np.isfinite(high)
            one.vlines(x[sure], low[sure], high[sure], color=ACCENT, linewidth=2.2, alpha=0.35)
            one.plot(x, y, "-o", color=ACCENT, linewidth=1.0, markersize=2.6)
            for fall in course.falls:
                if fall.difference.metric == name:
                    at = x == fall.epoch
                    one.plot(x[at], y[at], "o", markersize=7, markerfacecolor="none", markeredgecolor=ERROR)
            _panel(one, f"{spec.title} {ARROWS[spec.direction]}", spec.unit, along)
        words = "Bars: 95% intervals. Ringed: the first epoch that is told worse than the best before it."
        if len(kept) < len(names):
            words += f" {len(kept)} of {len(names)} measures."
        foot(figure, width, (), words)
        return plain(figure)
