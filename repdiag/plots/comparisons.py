"""Figures of comparisons: forests of differences, training curves, classes that moved, checkpoints along a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from repdiag.comparison.side_by_side import SideBySide
from repdiag.comparison.types import Comparison, Difference, Effect
from repdiag.plots.series import ends
from repdiag.plots.style import (
    ACCENT,
    ERROR,
    INK,
    LINE,
    SMALL,
    SOFT,
    TINY,
    Width,
    foot,
    label,
    plain,
    sheet,
    styled,
    wrapped,
)
from repdiag.report.columns import numeric
from repdiag.report.comparison_arms import Arm, Reading
from repdiag.report.comparison_changes import MOST
from repdiag.report.comparison_curves import _NO_CURVES, _STATES, CURVES, _numbers, _power, _runs, _titled
from repdiag.report.comparison_marks import round_up
from repdiag.report.comparison_words import effect_word, points, said, signed
from repdiag.report.numbers import ARROWS
from repdiag.report.svg import nice_ticks, tick_labels
from repdiag.types import Direction

EFFECTS = {Effect.HELPED: ACCENT, Effect.HURT: ERROR, Effect.NO_EVIDENCE: SOFT}
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

MARKERS = ("o", "s", "o", "D", "^", "v", "P", "X")
MAX_ROWS = 16  # metrics of a forest of differences
MAX_PANELS = 9


def whole(made: Comparison | SideBySide) -> Comparison:
    """The comparison of all arms."""
    return made.comparison if isinstance(made, SideBySide) else made


def differences(made: Comparison | SideBySide, *, width: Width = "page") -> Figure | None:
    """Differences of the metrics to read first, each on its own scale around zero. None where none was made.

    The first row of a metric is the one that counts, its interval a bar in the color of its effect; rows below it
    are of the other pairs of arms.
    """
    comparison = whole(made)
    reading = Reading(comparison)
    shown = [(name, pairs) for name in reading.telling[:MAX_ROWS] if (pairs := reading.pairs(name))]
    if not shown:
        return None
    lanes = sum(len(pairs) for _, pairs in shown)
    left, right = (0.40, 0.72) if width == "page" else (0.0, 1.0)
    with styled():
        against, subject = label(comparison.against, 30), label(comparison.subject, 30)
        step = 0.135 if width == "page" else 0.15
        rows = lanes + 0.9 * len(shown) + (1.3 * len(shown) if width == "column" else 0)
        figure = sheet(width, 0.3 + step * rows, f"{subject} against {against}: what changed")
        axes = figure.add_subplot()
        axes.set_axis_off()
        axes.set_xlim(0, 1)
        y = 0.0
        for name, pairs in shown:
            title = label(f"{pairs[0].title} {ARROWS[pairs[0].direction]}", 54)
            if width == "column":
                axes.text(0, y, title, fontsize=SMALL, va="center")
                y += 1.3
            top, most = y - 0.7, round_up(1.05 * max(abs(v) for d in pairs for v in (d.delta, *_ends(d))))
            bottom = y + len(pairs) - 0.3
            _ground(axes, pairs[0].direction, (left, right), (top, bottom))
            for i, d in enumerate(pairs):
                _difference(axes, d, reading, i == 0, y + i, (left, right), most)
                if width == "page":
                    axes.text(right + 0.02, y + i, said(d), fontsize=SMALL if i == 0 else TINY, va="center",
                              color=_color(d, reading) if i == 0 else SOFT)  # fmt: skip
            if width == "page":
                weight = "bold" if name == reading.primary else "normal"
                axes.text(left - 0.02, y, title, fontsize=SMALL, va="center", ha="right", fontweight=weight)
            else:
                axes.text(1, y - 1.3, said(pairs[0]), fontsize=SMALL, va="center", ha="right",
                          color=_color(pairs[0], reading))  # fmt: skip
            y += len(pairs) + 0.9
        axes.set_ylim(y - 0.6, -1.2)
        entries = _key(reading, [pairs for _, pairs in shown])
        foot(figure, width, entries, _difference_words(reading, len(shown)), 1 if width == "column" else 3)
        return plain(figure)


def _ends(d: Difference) -> tuple[float, float]:
    return (d.delta, d.delta) if d.interval is None else ends(d.interval)


def _color(d: Difference, reading: Reading) -> str:
    return INK if effect_word(d, reading.fixed) == "moved" else EFFECTS[d.effect]


def _ground(axes: Axes, way: Direction, across: tuple[float, float], down: tuple[float, float]) -> None:
    """The better side, tinted, and the line at zero."""
    left, right = across
    middle = (left + right) / 2
    if way is not Direction.NEITHER:
        start = middle if way is Direction.HIGHER else left
        axes.fill_between(
            [start, start + (right - left) / 2], *down, color=ACCENT, alpha=0.06, linewidth=0, zorder=0
        )
    axes.plot([middle, middle], down, color=SOFT, linewidth=0.7, zorder=1)
    axes.plot([left, right], [down[1]] * 2, color=LINE, linewidth=0.5, zorder=0.5)


def _difference(
    axes: Axes,
    d: Difference,
    reading: Reading,
    first: bool,
    y: float,
    across: tuple[float, float],
    most: float,
) -> None:
    def at(value: float) -> float:
        return across[0] + (across[1] - across[0]) * (value + most) / (2 * most)

    low, high = _ends(d)
    arm = reading.arm(d.subject)
    mark = 2 if arm is None else arm.mark
    color = _color(d, reading) if first else ARMS[mark][0]
    if d.interval is not None:
        axes.plot(
            [at(low), at(high)], [y, y], color=color, linewidth=4.5 if first else 1.0, alpha=0.35 if first else 1,
            zorder=2,
        )  # fmt: skip
    axes.plot(
        [at(d.delta)],
        [y],
        "o" if first else MARKERS[mark],
        color=color,
        markersize=4 if first else 3,
        zorder=3,
    )


def _key(reading: Reading, found: Sequence[Sequence[Difference]]) -> list[tuple[str, Line2D]]:
    """Colors of effects that are drawn, and what the thin rows are."""
    words = {effect_word(pairs[0], reading.fixed): _color(pairs[0], reading) for pairs in found}
    entries: list[tuple[str, Line2D]] = [
        (word, Line2D([], [], linestyle="", marker="o", markersize=4, color=color))
        for word, color in words.items()
    ]
    thin = {(d.subject, d.against): d for pairs in found for d in pairs[1:]}
    for subject, against in thin:
        arm = reading.arm(subject)
        mark = 2 if arm is None else arm.mark
        handle = Line2D([], [], marker=MARKERS[mark], markersize=3, color=ARMS[mark][0], linewidth=1)
        entries.append((f"{label(subject, 22)} against {label(against, 22)}", handle))
    return entries


def _difference_words(reading: Reading, shown: int) -> str:
    levels = [d.interval.level for d in reading.comparison.differences if d.interval is not None]
    words = "Zero in the middle of each scale; the better side is tinted."
    if levels:
        words += f" Bars: {100 * max(levels):g}% intervals."
    if reading.primary is not None:
        words += " Bold: the measure that decides."
    if shown < len(reading.metrics):
        words += f" {shown} of {len(reading.metrics)} measures."
    return words


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


def changed_classes(made: Comparison | SideBySide, *, width: Width = "column") -> Figure | None:
    """The classes whose accuracy fell and rose most, with intervals. None without labels."""
    comparison = whole(made)
    if isinstance(made, SideBySide):  # of several, the one that the verdict is about
        comparison = next((one for one in made.details if one.subject == comparison.subject), comparison)
    table = comparison.classes
    delta = numeric(table, "delta")
    if delta is None or not np.isfinite(delta).any():
        return None
    nothing = np.full(delta.size, np.nan)
    low, high = (nothing if (v := numeric(table, name)) is None else v for name in ("low", "high"))
    known = np.flatnonzero(np.isfinite(delta))
    order = known[np.argsort(delta[known], kind="stable")]
    rows = [*order[delta[order] < 0][:MOST], *order[delta[order] > 0][-MOST:]]
    if not rows:
        return None
    with styled():
        title = f"Accuracy by class, {label(comparison.subject, 18)} against {label(comparison.against, 18)}"
        figure = sheet(width, 0.65 + 0.17 * len(rows), wrapped(title, 46 if width == "column" else 100))
        axes = figure.add_subplot()
        axes.axvline(0, color=SOFT, linewidth=0.7, zorder=1)
        for y, i in enumerate(rows):
            color = ACCENT if low[i] > 0 else ERROR if high[i] < 0 else SOFT
            if np.isfinite([low[i], high[i]]).all():
                axes.barh(y, high[i] - low[i], 0.42, low[i], color=color, alpha=0.35, linewidth=0, zorder=2)
            axes.plot([delta[i]], [y], "o", color=color, markersize=4, zorder=3)
            axes.text(1.02, y, signed(float(delta[i]), "share"), fontsize=SMALL, va="center",
                      transform=axes.get_yaxis_transform())  # fmt: skip
        axes.set_ylim(len(rows) - 0.4, -0.6)
        names = [label(table.columns["class"][i], 24) for i in rows]
        axes.yaxis.set_ticks(range(len(rows)), labels=names)
        for text in axes.get_yticklabels():
            text.set_color(INK)
        most = max(abs(v) for v in axes.get_xlim())
        axes.set_xlim(-most, most)
        ticks = nice_ticks(-most, most, 4)
        axes.xaxis.set_ticks(ticks, labels=[f"{100 * t:+.3g}" if t else "0" for t in ticks])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(f"change of accuracy, {points('share')}")
        words = "Bars: intervals; gray where they hold zero."
        if len(rows) < len(table):
            words += f" The {len(rows)} of {len(table):,} classes that moved most."
        foot(figure, width, (), words)
        return plain(figure)


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
