"""Figures of comparisons: forests of differences, and classes that moved."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from repdiag.comparison.side_by_side import SideBySide
from repdiag.comparison.types import Comparison, Difference, Effect
from repdiag.plots.runs import ARMS, whole
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
from repdiag.report.comparison_arms import Reading
from repdiag.report.comparison_changes import MOST
from repdiag.report.comparison_marks import round_up
from repdiag.report.comparison_words import effect_word, points, said, signed
from repdiag.report.numbers import ARROWS
from repdiag.report.svg import nice_ticks
from repdiag.types import Direction

EFFECTS = {Effect.HELPED: ACCENT, Effect.HURT: ERROR, Effect.NO_EVIDENCE: SOFT}
MARKERS = ("o", "s", "o", "D", "^", "v", "P", "X")
MAX_ROWS = 16  # metrics of a forest of differences


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
