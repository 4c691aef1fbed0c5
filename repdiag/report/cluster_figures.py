"""Clusters one by one: how well each comes back, beside the levels of its categories and what chance gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from repdiag.report.axes_figure import axis, lines, null_band, place
from repdiag.report.columns import CLUSTER_COLUMNS, Column, column_of, numeric
from repdiag.report.figure import Figure
from repdiag.report.grids import Cell, cell_of
from repdiag.report.numbers import number
from repdiag.report.svg import Axes, Scale, tag
from repdiag.types import Null, Report

LEVELS = (0.5, 0.6, 0.75, 0.85)
WORDS = ("dissolved", "doubtful", "pattern", "valid", "highly stable")
"""The categories of `cluster_jaccard`, and where one ends and the next begins."""

UNIT_SCALE = Scale(0.0, 1.0)

MAX_DOTS = 40  # clusters that are drawn one by one; of more, the lowest
MAX_LOWEST = 20
BINS = 20

FIRST = ("cluster", "majority_class", "purity", "n")
"""Columns in front of the drawing; the others follow it."""


@dataclass(frozen=True)
class DotRow:
    """A cluster: cells before the drawing, the drawing, cells after it."""

    before: tuple[Cell, ...]
    jaccard: Cell
    svg: Markup
    after: tuple[Cell, ...]


@dataclass(frozen=True)
class Dots:
    """Clusters that come back least, or all of them, the lowest first; `total` are all, `rows` those listed."""

    before: tuple[Column, ...]
    title: str
    after: tuple[Column, ...]
    rows: tuple[DotRow, ...]
    total: int
    axis: Markup


def dots(report: Report, null: Null | None) -> Dots | None:
    """One row per cluster of clusters.csv, lowest Jaccard first; None where there are none."""
    table = report.clusters
    values = numeric(table, "jaccard")
    if not len(table):
        return None
    if values is None:
        values = np.full(len(table), np.nan)
    most = len(table) if len(table) <= MAX_DOTS else MAX_LOWEST
    order = np.argsort(values, kind="stable")[:most]  # missing ones last
    before = [name for name in FIRST if name in table.columns]
    known = [name for name in CLUSTER_COLUMNS if name in table.columns]
    after = [name for name in known if name not in (*before, "jaccard")]
    after += [name for name in table.columns if name not in CLUSTER_COLUMNS]

    def cells(names: list[str], row: int) -> tuple[Cell, ...]:
        return tuple(
            cell_of(table.columns[name][row], column_of(name, CLUSTER_COLUMNS).unit) for name in names
        )

    rows = tuple(
        DotRow(
            cells(before, int(i)),
            cell_of(float(values[i])),
            _dot(float(values[i]), null),
            cells(after, int(i)),
        )
        for i in order
    )
    heads = [tuple(column_of(name, CLUSTER_COLUMNS) for name in names) for names in (before, after)]
    ticks = [(0.0, "0"), *((level, f"{level:g}".lstrip("0")) for level in LEVELS), (1.0, "1")]
    return Dots(
        heads[0], CLUSTER_COLUMNS["jaccard"].title, heads[1], rows, len(table), axis(UNIT_SCALE, ticks)
    )


def _dot(value: float, null: Null | None) -> Markup:
    """A dot between 0 and 1 with the levels behind it; its number stands in the next cell."""
    height = 30
    parts: list[Markup] = lines(UNIT_SCALE, LEVELS, "guide", height)
    if null is not None:
        parts += null_band(UNIT_SCALE, null.mean, null.std, height)
    if np.isfinite(value):
        end = place(UNIT_SCALE.at(value))
        parts.append(tag("line", x1="0%", x2=end, y1=height // 2, y2=height // 2, class_="stem"))
        parts.append(tag("circle", cx=end, cy=height // 2, r=4, class_="dot"))
    return tag("svg", *parts, class_="mark-row", height=height, aria_hidden="true")


def histogram(report: Report, null: Null | None) -> Figure | None:
    """How the Jaccards of many clusters are distributed; None for no more clusters than are drawn one by one."""
    values: npt.NDArray[Any] | None = numeric(report.clusters, "jaccard")
    if values is None or len(values) <= MAX_DOTS or not np.isfinite(values).any():
        return None
    known = values[np.isfinite(values)]
    edges = np.linspace(0, 1, BINS + 1)
    counts = np.histogram(known, edges)[0]
    axes = Axes((0.0, 1.0), (0.0, 1.25 * float(counts.max())), width=640, height=250)
    floor = axes.height - axes.bottom
    parts = []
    if null is not None:
        low, high = (axes.x(float(np.clip(null.mean + s * null.std, 0, 1))) for s in (-2, 2))
        parts.append(
            tag("rect", x=low, y=axes.top, width=high - low, height=floor - axes.top, class_="chance")
        )
    parts.append(axes.frame("comes back (Jaccard)", "clusters"))
    for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True):
        if count:
            x, y = axes.x(float(low)) + 0.75, axes.y(float(count))
            width = axes.x(float(high)) - axes.x(float(low)) - 1.5
            parts.append(tag("rect", x=x, y=y, width=width, height=floor - y, class_="column"))
    for level, low, word in zip((*LEVELS, 1.0), (0.0, *LEVELS), WORDS, strict=True):
        x = axes.x(level)
        if level < 1:
            parts.append(tag("line", x1=x, x2=x, y1=axes.top, y2=floor, class_="level"))
        parts.append(tag("text", word, x=axes.x((low + level) / 2), y=axes.top + 10, class_="tick mid"))
    if null is not None:
        x = axes.x(null.mean)
        parts.append(tag("line", x1=x, x2=x, y1=axes.top, y2=floor, class_="null"))
    caption = f"All {known.size:,} clusters by how well they come back."
    if known.size < len(values):
        caption += f" {len(values) - known.size:,} more are in no bar: no bootstrap held any of their images."
    if null is not None:
        caption += f" The gray band is what structureless data give: {number(null.mean)} on average."
    rows = tuple(
        {"jaccard from": float(a), "to": float(b), "clusters": int(n)}
        for a, b, n in zip(edges[:-1].round(6), edges[1:].round(6), counts, strict=True)
        if n
    )
    svg = axes.figure("Histogram of the clusters' Jaccards", *parts)
    return Figure("clusters", "How many clusters come back", svg, caption, rows=rows)
