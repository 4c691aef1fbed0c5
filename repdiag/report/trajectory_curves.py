"""A run's checkpoints as small multiples: every metric against the epoch, with each report's own interval."""

from __future__ import annotations

import math

import numpy as np
from markupsafe import Markup

from repdiag.comparison.side_by_side import Fall, SideBySide
from repdiag.report.columns import Column
from repdiag.report.comparison_arms import Reading
from repdiag.report.comparison_curves import _frame
from repdiag.report.figure import Figure
from repdiag.report.grids import Cell, Grid, cell_of, text
from repdiag.report.numbers import ARROWS, quantity
from repdiag.report.svg import Axes, tag

MAX_FIGURES = 60


def figures(made: SideBySide) -> tuple[list[Figure], list[Figure]]:
    """One drawing per metric of at least two checkpoints: those that are followed and the headline; the rest."""
    course = made.trajectory
    if course is None:
        return [], []
    reading = Reading(made.comparison)
    order = {name: (0, i) for i, name in enumerate(course.followed)}
    names = sorted(
        reading.specs, key=lambda n: order.get(n, (1 if reading.headline(n) else 2, 0))
    )  # stable: else the order of the reports
    drawn = [(name, figure) for name in names if (figure := _figure(made, reading, name)) is not None]
    first = [figure for name, figure in drawn if name in order or reading.headline(name)]
    return first, [f for name, f in drawn if f not in first][: max(0, MAX_FIGURES - len(first))]


def _figure(made: SideBySide, reading: Reading, metric: str) -> Figure | None:
    course = made.trajectory
    assert course is not None
    columns = course.values.columns
    rows = np.flatnonzero(columns["metric"] == metric)
    if rows.size < 2:
        return None
    spec = reading.specs[metric]
    x, y, low, high = (columns[name][rows] for name in ("epoch", "value", "low", "high"))
    ends = np.concatenate([y, low[np.isfinite(low)], high[np.isfinite(high)]])
    bottom, top = float(ends.min()), float(ends.max())
    pad = 0.06 * (top - bottom) or 0.05 * abs(top) or 1.0
    axes = Axes(
        (float(x.min()), float(x.max())),
        (bottom - pad, top + pad),
        340,
        200,
        left=56,
        right=12,
        top=14,
        bottom=40,
    )
    parts = [_frame(axes, spec.unit if spec.unit in ("share", "%") else "")]
    fall = next((f for f in course.falls if f.difference.metric == metric), None)
    parts += _fall(axes, fall)
    for a, lower, upper in zip(x, low, high, strict=True):
        if math.isfinite(lower) and math.isfinite(upper):
            parts.append(
                tag(
                    "line",
                    x1=axes.x(a),
                    x2=axes.x(a),
                    y1=axes.y(lower),
                    y2=axes.y(upper),
                    class_="arm-2 thin",
                )
            )
    parts.append(axes.path([(float(a), float(b)) for a, b in zip(x, y, strict=True)], "arm-2 curve"))
    for a, b, name in zip(x, y, columns["encoder"][rows], strict=True):
        said = f"{text(name)}: {quantity(float(b), spec.unit)}"
        parts.append(
            tag("circle", tag("title", said), cx=axes.x(float(a)), cy=axes.y(float(b)), r=2.8, class_="arm-2")
        )
    title = f"{spec.title} {ARROWS[spec.direction]}"
    return Figure(f"run-{metric}", title, axes.figure(spec.title, *parts), "")


def _fall(axes: Axes, fall: Fall | None) -> list[Markup]:
    """The best until the fall as a line across, and a ring around the first epoch that is worse."""
    if fall is None:
        return []
    d, right = fall.difference, axes.width - axes.right
    if not axes.ylim[0] <= d.other <= axes.ylim[1]:
        return []
    return [
        tag("line", x1=axes.x(fall.best), x2=right, y1=axes.y(d.other), y2=axes.y(d.other), class_="zero"),
        tag("circle", cx=axes.x(fall.epoch), cy=axes.y(min(max(d.value, axes.ylim[0]), axes.ylim[1])), r=7,
            class_="ring arm-0"),
    ]  # fmt: skip


def table(made: SideBySide) -> Grid | None:
    """Every metric (rows) at every checkpoint (columns); with many checkpoints as many as a page can hold, evenly."""
    course = made.trajectory
    if course is None:
        return None
    reading = Reading(made.comparison)
    count = len(course.encoders)
    shown = np.unique(np.linspace(0, count - 1, min(count, 24)).round().astype(int)).tolist()
    heads = [Column("Metric"), *(Column(f"{course.epochs[i]:g}") for i in shown)]
    rows = []
    for name, spec in reading.specs.items():
        runs = [made.comparison.arms[i] for i in shown]
        results = [run.report.value(name) for run in runs]
        if not any(results):
            continue
        title = f"{spec.title} {ARROWS[spec.direction]}"
        cells = [cell_of(None if r is None else r.value, spec.unit) for r in results]
        rows.append((Cell(title, "", False), *cells))
    return Grid(tuple(heads), tuple(rows), count)


def ranks(made: SideBySide) -> Grid | None:
    """The label-free ranks of the checkpoints."""
    if made.trajectory is None or not len(made.trajectory.ranks):
        return None
    columns = made.trajectory.ranks.columns
    reading = Reading(made.comparison)
    heads = [Column("Checkpoint"), Column("Epoch" if made.trajectory.numbered else "Number")]
    metrics = [name for name in columns if name.startswith("rank_")]
    heads += [Column(reading.specs[name.removeprefix("rank_")].title) for name in metrics] + [
        Column("Mean rank")
    ]
    rows = []
    for i in range(len(made.trajectory.ranks)):
        values = (float(columns[name][i]) for name in (*metrics, "mean_rank"))
        cells = [Cell(f"{value:.3g}", str(value), True) for value in values]
        epoch = Cell(f"{columns['epoch'][i]:g}", str(float(columns["epoch"][i])), True)
        rows.append((Cell(text(columns["encoder"][i]), "", False), epoch, *cells))
    return Grid(tuple(heads), tuple(rows), len(rows))
