"""Which of M classes crowd which, as a heat map: equal steps of one scale, and per step one path with all its cells.

A cell of its own for each of M x M numbers would make a heavy page; runs of cells of one color are one piece of one
path. Names stand beside the drawing as text, so that a page can shorten and wrap them. Nothing is computed here but
places and colors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from repdiag.exhibits import ClassMatrix
from repdiag.report.grids import Cell, cell_of, text
from repdiag.report.svg import nice_ticks, tag, tick_labels
from repdiag.report.text import shortened

COLORS = 8
"""Colors of the ramp in crowding.css, h1 (least) to h8 (most)."""

UNIT = 20
"""Side of a cell in the drawing's own units."""

MAX_WRITTEN = 12
"""Classes up to which every cell has its number in it."""

MAX_LISTED = 50
"""Cells in the table that says the same in words."""

MAX_NAME = 20
"""Characters of a name beside the matrix; what is hovered or focused says it whole."""

SIZES = (12, 20, 30, 45, 60)
"""Numbers of classes for which the style sheet knows how narrow a matrix may become; beyond, it never shrinks."""


@dataclass(frozen=True)
class Steps:
    """Equal steps between round numbers: step s is (edges[s - 1], edges[s]].

    `dark_low`: the lowest step has the strongest color (distances), else the highest (shares).
    """

    edges: tuple[float, ...]
    dark_low: bool = False

    def color(self, step: int) -> int:
        """Color 1 to COLORS of step 1 to n; the strongest is always among them."""
        n = len(self.edges) - 1
        step = n + 1 - step if self.dark_low else step
        return COLORS if n == 1 else 1 + round((step - 1) * (COLORS - 1) / (n - 1))

    def colors(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """The color of each value: 0 for nothing (a share of zero), -1 where unknown."""
        width = self.edges[1] - self.edges[0]
        step = np.ceil((np.nan_to_num(values) - self.edges[0]) / width - 1e-9).astype(np.int64)
        table = np.array([0] + [self.color(s) for s in range(1, len(self.edges))])
        found = table[np.clip(step, 1, len(table) - 1)]
        if not self.dark_low:
            found = np.where(values == 0, 0, found)
        return np.where(np.isfinite(values), found, -1)


def share_steps(values: npt.NDArray[np.float64]) -> Steps | None:
    """Steps from 0 to at least the largest share; None where no share is above zero."""
    known = values[np.isfinite(values)]
    if not known.size or known.max() <= 0:
        return None
    high = float(known.max())
    width = nice_ticks(0.0, high, COLORS - 1)[1]
    return Steps(tuple(width * i for i in range(math.ceil(high / width - 1e-9) + 1)))


def distance_steps(values: npt.NDArray[np.float64]) -> Steps | None:
    """Steps that hold all distances, the shortest strongest; None where none is known."""
    known = values[np.isfinite(values)]
    if not known.size:
        return None
    low, high = float(known.min()), float(known.max())
    if high - low < 1e-6 * high or high <= 0:
        return Steps((low - 1e-3, high + 1e-3), dark_low=True)
    ticks = nice_ticks(low, high, COLORS - 2)
    if len(ticks) < 2:
        return Steps((low, high), dark_low=True)
    width = ticks[1] - ticks[0]
    first, last = math.floor(low / width + 1e-9), math.ceil(high / width - 1e-9)
    return Steps(tuple(width * i for i in range(first, last + 1)), dark_low=True)


@dataclass(frozen=True)
class Measure:
    """One way to color the matrix: its key, what it is called, its colors' legend, what a cell says."""

    key: str
    title: str
    words: str
    legend: Markup


@dataclass(frozen=True)
class Heatmap:
    """The drawing, what stands around it, and what a script needs to read a cell aloud.

    `own[i]` is a class's share of samples nearest to its own center, with a bar of where all lie nearest; `cells` are
    the largest entries off the diagonal: class, the class whose center is nearer, share, own share, distance.
    `of_cells` counts all entries above zero.
    """

    names: tuple[str, ...]
    short: tuple[str, ...]
    of: int
    size: int
    svg: Markup
    measures: tuple[Measure, ...]
    own: tuple[tuple[Cell, Markup], ...]
    cells: tuple[tuple[Cell, ...], ...]
    of_cells: int
    data: dict[str, Any]


def heatmap(matrix: ClassMatrix) -> Heatmap | None:
    """The heat map of a matrix; None where there are not two classes, or nothing off the diagonal is known."""
    m = len(matrix.classes)
    if m < 2:
        return None
    off = ~np.eye(m, dtype=bool)
    shares, distances = share_steps(matrix.nearer[off]), distance_steps(matrix.distance[off])
    drawn = [
        ("nearer", shares, matrix.nearer, "share"),
        ("distance", distances, matrix.distance, ""),
    ]
    parts: list[Markup] = []
    measures: list[Measure] = []
    for key, steps, values, unit in drawn:
        if steps is None:
            continue
        colors = steps.colors(values)
        np.fill_diagonal(colors, 0)
        inside = [_cells(colors)]
        if m <= MAX_WRITTEN:
            inside.append(_numbers(values, colors, unit))
        parts.append(tag("g", *inside, class_=key))
        title = "Share nearer" if key == "nearer" else "Distance of centers"
        words = (
            "share of the row's images that lie nearest to the column's center"
            if key == "nearer"
            else "distance of the two centers: the closer, the stronger the color"
        )
        measures.append(Measure(key, title, words, _legend(steps, unit)))
    if not measures:
        return None
    names = tuple(text(name) for name in matrix.classes)
    own = matrix.nearer.diagonal()
    listed, above = _largest(matrix, names)
    return Heatmap(
        names,
        tuple(shortened(name, MAX_NAME) for name in names),
        matrix.of,
        next((size for size in SIZES if m <= size), SIZES[-1]),
        _drawing(m, parts),
        tuple(measures),
        tuple(
            (cell_of(float(v), "share"), _bar(float(v), float(w)))
            for v, w in zip(own, matrix.mass, strict=True)
        ),
        listed,
        above,
        _data(matrix, names),
    )


def _drawing(m: int, parts: Sequence[Markup]) -> Markup:
    side = UNIT * m
    natural = round(m * min(60.0, max(12.5, 680 // m)))
    diagonal = "".join(f"M{UNIT * i} {UNIT * i}h{UNIT}v{UNIT}h-{UNIT}z" for i in range(m))
    lines = "".join(f"M0 {UNIT * i}H{side}M{UNIT * i} 0V{side}" for i in range(1, m))
    return tag(
        "svg",
        tag("title", f"Heat map of {m} classes: rows are images of a class, columns the centers of classes"),
        tag("path", d=diagonal, class_="own"),
        *parts,
        tag("path", d=lines, class_="lines"),
        tag("rect", x=0, y=0, width=UNIT, height=UNIT, class_="cursor"),
        viewBox=f"0 0 {side} {side}",
        width=natural,
        height=natural,
        role="img",
        class_="cells",
    )


def _cells(colors: npt.NDArray[np.int64]) -> Markup:
    """One path per color: runs of neighbors in a row as one rectangle each."""
    paths: dict[int, list[str]] = {}
    for y, row in enumerate(colors):
        starts = np.flatnonzero(np.diff(row, prepend=row[0] - 1))
        for x, end in zip(starts, [*starts[1:], row.size], strict=True):
            if row[x] != 0:
                width = UNIT * int(end - x)
                piece = f"M{UNIT * x} {UNIT * y}h{width}v{UNIT}h-{width}z"
                paths.setdefault(int(row[x]), []).append(piece)
    return Markup("").join(
        tag("path", d="".join(pieces), class_="unknown" if color < 0 else f"h{color}")
        for color, pieces in sorted(paths.items())
    )


def _numbers(values: npt.NDArray[np.float64], colors: npt.NDArray[np.int64], unit: str) -> Markup:
    """The value in each cell; the diagonal's is the own share, and has none among distances."""
    written = []
    for (i, j), value in np.ndenumerate(values):
        if not math.isfinite(value) or value == 0:
            continue
        class_ = "itself" if i == j else "on-dark" if colors[i, j] > 5 else None
        shown = f"{value:.2f}" if unit != "share" else f"{100 * value:.1f}" if value >= 0.0005 else "<0.1"
        written.append(tag("text", shown, x=UNIT * j + UNIT // 2, y=UNIT * i + UNIT * 0.57, class_=class_))
    return Markup("").join(written)


def _legend(steps: Steps, unit: str) -> Markup:
    """Boxes in the colors of the steps with the edges below, as wide as there is room."""
    n = len(steps.edges) - 1
    labels = tick_labels(steps.edges, unit)
    parts = [
        tag(
            "rect",
            x=f"{100 * i / n:.2f}%",
            y=0,
            width=f"{100 / n:.2f}%",
            height=10,
            class_=f"h{steps.color(i + 1)}",
        )
        for i in range(n)
    ]
    parts += [
        tag("text", label, x=f"{100 * i / n:.2f}%", y=24, class_="tick mid") for i, label in enumerate(labels)
    ]
    return tag(
        "svg",
        tag("title", f"{n} steps of color from {labels[0]} to {labels[-1]}"),
        *parts,
        width=46 * n,
        height=28,
        role="img",
        class_="ramp",
    )


def _bar(own: float, elsewhere: float) -> Markup:
    """A class's samples in a bar: nearest to their own center, to another class's that is shown, to one that is not."""
    if not math.isfinite(own):
        return Markup("")
    rest = 100 * elsewhere if math.isfinite(elsewhere) else 0.0
    parts = [
        tag("rect", width="100%", height="100%", class_="shown"),
        tag("rect", width=f"{100 * own:.1f}%", height="100%", class_="self"),
    ]
    if rest > 0:
        parts.append(
            tag("rect", x=f"{100 - rest:.1f}%", width=f"{rest:.1f}%", height="100%", class_="elsewhere")
        )
    return tag("svg", *parts, class_="bar", aria_hidden="true")


def _largest(matrix: ClassMatrix, names: tuple[str, ...]) -> tuple[tuple[tuple[Cell, ...], ...], int]:
    """The largest entries off the diagonal, and how many are above zero."""
    m = len(names)
    shares = np.where(np.eye(m, dtype=bool), 0.0, np.nan_to_num(matrix.nearer)).ravel()
    order = np.argsort(-shares, kind="stable")[:MAX_LISTED]
    found = []
    for at in order[shares[order] > 0]:
        i, j = divmod(int(at), m)
        numbers = (matrix.nearer[i, j], "share"), (matrix.nearer[i, i], "share"), (matrix.distance[i, j], "")
        found.append(
            (cell_of(names[i]), cell_of(names[j]), *(cell_of(float(v), unit) for v, unit in numbers))
        )
    return tuple(found), int((shares > 0).sum())


def _data(matrix: ClassMatrix, names: tuple[str, ...]) -> dict[str, Any]:
    """Percent with one decimal and distances with three, null where unknown; of the symmetric distances what lies
    right of the diagonal. A share above zero that would round to zero is 0.01, which is said as "less than 0.1%"."""
    m = len(names)
    return {
        "classes": names,
        "nearer": [[_percent(float(v)) for v in row] for row in matrix.nearer],
        "distance": [[_distance(float(matrix.distance[i, j])) for j in range(i + 1, m)] for i in range(m)],
        "elsewhere": [_percent(float(v)) for v in matrix.mass] if m < matrix.of else None,
    }


def _percent(share: float) -> float | int | None:
    if not math.isfinite(share) or share == 0:
        return 0 if share == 0 else None
    return max(0.01, float(f"{100 * share:.1f}"))


def _distance(value: float) -> float | None:
    return float(f"{value:.3f}") if math.isfinite(value) else None
