"""The map: UMAP and PCA side by side, by class and by correctness; for looking only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from repdiag.exhibits import placed_rows, shown_rows
from repdiag.plots.style import (
    ERROR,
    LINE,
    SMALL,
    WIDTHS,
    Entries,
    Width,
    foot,
    label,
    plain,
    sheet,
    styled,
)
from repdiag.report.columns import judged, numeric
from repdiag.report.numbers import quantity
from repdiag.report.palette import class_colors
from repdiag.types import Report

MAX_VECTOR = 3000
"""Dots that are drawn as shapes of their own; more of them as one picture inside the axes, whose frame stays vector."""

MAX_NAMED = 24
"""Classes that the key names; of more, colors are a hint and no more."""

UNKNOWN = "#b9bdc4"
RIGHT = "#9db8cf"


@dataclass(frozen=True)
class Way:
    """What colors mean, the color of each dot, the order in which dots are drawn (low first), key and note."""

    said: str
    colors: npt.NDArray[Any]
    level: npt.NDArray[Any]
    key: Entries = ()
    note: str = ""


def maps(report: Report, *, width: Width = "page") -> Figure | None:
    """UMAP and PCA of the same images, colored by class and by correctness where known. None without a map."""
    placed = placed_rows(report.samples.columns)
    rows = shown_rows(placed)
    planes = []
    for key, title in (("umap", "UMAP"), ("pca", "PCA")):
        x, y = (numeric(report.samples, f"{key}_{axis}") for axis in "xy")
        if rows.size and x is not None and y is not None and np.isfinite([x[rows], y[rows]]).all():
            planes.append((key, title, x[rows], y[rows]))
    if not planes:
        return None
    ways = [way for way in (_by_class(report, rows), _by_correctness(report, rows)) if way is not None]
    ways = ways or [Way("", np.full(rows.size, UNKNOWN, dtype=object), np.zeros(rows.size))]
    order = np.random.default_rng(0).permutation(
        rows.size
    )  # so that the last class does not lie on all others
    side = WIDTHS[width] / len(planes)
    flat = max(np.ptp(y) / (np.ptp(x) or 1.0) for *_, x, y in planes)
    keys, notes = [entry for way in ways for entry in way.key], [way.note for way in ways if way.note]
    columns = 3 if width == "column" else 6
    height = 0.25 + len(ways) * (side * float(np.clip(flat, 0.6, 1.0)) + 0.12)
    with styled():
        figure = sheet(width, height, "Map")
        grid = np.atleast_2d(figure.subplots(len(ways), len(planes), squeeze=False))
        for line, way in zip(grid, ways, strict=True):
            for axes, (_, title, x, y) in zip(line, planes, strict=True):
                at = order[np.argsort(way.level[order], kind="stable")]
                axes.scatter(
                    x[at], y[at], s=_area(rows.size, side), c=way.colors[at].tolist(), linewidth=0, alpha=0.75,
                    rasterized=rows.size > MAX_VECTOR,
                )  # fmt: skip
                axes.set_title(
                    f"{title}{', ' if way.said else ''}{way.said}", loc="left", fontsize=SMALL, pad=2
                )
                axes.set_aspect("equal", adjustable="datalim")
                axes.set_xticks([])
                axes.set_yticks([])
                for spine in axes.spines.values():
                    spine.set_visible(True)
                    spine.set_color(LINE)
        said = _words(report, rows.size, [key for key, *_ in planes])
        foot(figure, width, keys, " ".join([said, *notes]), columns)
        return plain(figure)


def _by_class(report: Report, rows: npt.NDArray[np.int64]) -> Way | None:
    column = report.samples.columns.get("label")
    if column is None:
        return None
    labels = [None if value is None else str(value) for value in column[rows]]
    used = {name for name in labels if name is not None}
    if not used:
        return None
    known = [str(name) for name in report.classes.columns.get("class", ())]
    names = [name for name in known if name in used] + sorted(used - set(known))
    color = dict(zip(names, class_colors(len(names)), strict=True))
    found = np.array([UNKNOWN if name is None else color[name] for name in labels], dtype=object)
    named = len(names) <= MAX_NAMED
    entries = [(label(name, 16), _dot(color[name])) for name in names] if named else []
    words = "" if named else f"{len(names):,} classes are too many to tell apart: their colors are a hint."
    return Way(
        "by class", found, np.array([name is not None for name in labels], dtype=np.int64), entries, words
    )


def _by_correctness(report: Report, rows: npt.NDArray[np.int64]) -> Way | None:
    column = report.samples.columns.get("correct")
    if column is None:
        return None
    right, wrong = judged(column[rows])
    if not (right.any() or wrong.any()):
        return None
    found = np.where(wrong, ERROR, np.where(right, RIGHT, UNKNOWN)).astype(object)
    words = f"Orange: misclassified ({int(wrong.sum()):,} of {int((right | wrong).sum()):,})."
    above = (
        wrong if wrong.sum() <= right.sum() else np.zeros_like(wrong)
    )  # many errors would hide all that is right
    return Way("by correctness", found, above.astype(np.int64), (), words)


def _dot(color: str) -> Line2D:
    return Line2D([], [], linestyle="", marker="o", markersize=3.5, color=color)


def _area(n: int, side: float) -> float:
    """Area of a dot in square points: together they would cover a quarter of the panel."""
    return float(np.clip(0.25 * (72 * side) ** 2 / n, 0.6, 9.0))


def _words(report: Report, shown: int, planes: list[str]) -> str:
    words = "For looking only."
    explained = report.exhibits.pca_explained
    if "pca" in planes and explained is not None:
        words += f" PCA's two axes hold {quantity(sum(explained), 'share')} of the variance."
    if shown < len(report.samples):
        words += f" Shown are {shown:,} of {len(report.samples):,} images."
    return words
