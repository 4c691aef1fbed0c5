"""Tables for the page: cells with their exact values, cut to a size that a page can hold, nothing computed.

Every cut is said on the page, and what is cut is whole in the files beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from repdiag.report.columns import (
    CLASS_COLUMNS,
    CLUSTER_COLUMNS,
    Column,
    cell,
    column_of,
    numeric,
)
from repdiag.report.numbers import MISSING, exact, is_missing, number
from repdiag.report.text import clean, shortened
from repdiag.types import MetricResult, Report, SizePoint, Table

MAX_CLASSES = 2000
MAX_CLUSTERS = 200
MAX_ROWS = 100  # rows of a metric's own table, and warnings
MAX_TEXT = 600  # characters of one label, file name or piece of metadata
MAX_CELL = 80  # of a table's cell


def text(value: Any) -> str:
    """Foreign text, valid and not endless; the templates escape it."""
    return shortened(clean(str(value)), MAX_TEXT)


@dataclass(frozen=True)
class Cell:
    """A table's cell: what is shown, a number's exact value ("" for text), and whether it is a number."""

    shown: str
    exact: str
    numeric: bool


def cell_of(value: Any, unit: str = "") -> Cell:
    """A cell for a plain value of any kind."""
    value = cell(value)
    if is_missing(value):
        return Cell(MISSING, "", True)
    if isinstance(value, bool):
        return Cell("yes" if value else "no", "", False)
    if isinstance(value, int):
        return Cell(f"{value:,}" if unit else str(value), str(value), True)
    if isinstance(value, float):
        return Cell(number(value, unit) + ("%" if unit in ("share", "%") else ""), exact(value), True)
    return Cell(shortened(clean(str(value)), MAX_CELL) or MISSING, "", False)


@dataclass(frozen=True)
class Grid:
    """A table for the page: headings, rows, and how many rows there are in all."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    total: int


def grid(rows: Sequence[Mapping[str, Any]]) -> Grid:
    """The rows of a measurement's table; a column is what any row has."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = tuple(tuple(cell_of(row.get(name)) for name in names) for row in rows[:MAX_ROWS])
    return Grid(tuple(Column(name.replace("_", " ")) for name in names), cells, len(rows))


def _cut(table: Table, known: Mapping[str, Column], rows: npt.NDArray[np.int64]) -> Grid:
    """Some rows of one of the report's tables, known columns first and in their order."""
    columns = table.columns
    names = [name for name in known if name in columns] + [name for name in columns if name not in known]
    heads = tuple(column_of(name, known) for name in names)
    cells = tuple(
        tuple(cell_of(columns[name][row], head.unit) for name, head in zip(names, heads, strict=True))
        for row in rows
    )
    return Grid(heads, cells, len(table))


def _lowest(table: Table, name: str, most: int) -> npt.NDArray[np.int64]:
    """All rows, or the `most` with the lowest values of a column, in the order of the table."""
    values = numeric(table, name)
    if len(table) <= most or values is None:
        return np.arange(min(len(table), most))
    return np.sort(np.argsort(values, kind="stable")[:most])


def class_grid(report: Report) -> Grid | None:
    """The class table; with more than MAX_CLASSES classes those with the lowest accuracy."""
    table = report.classes
    return _cut(table, CLASS_COLUMNS, _lowest(table, "accuracy", MAX_CLASSES)) if len(table) else None


def cluster_grid(report: Report) -> Grid | None:
    """The cluster table; with more than MAX_CLUSTERS those that come back least (Jaccard)."""
    table = report.clusters
    return _cut(table, CLUSTER_COLUMNS, _lowest(table, "jaccard", MAX_CLUSTERS)) if len(table) else None


def size_grid(report: Report) -> Grid | None:
    """Values of the metrics that were measured on fewer samples as well, one column for each number of samples."""
    measured = [m for m in report.measurements if m.by_size and isinstance(m.outcome, MetricResult)]
    if not measured:
        return None
    sizes = sorted({point.samples for m in measured for point in m.by_size})
    whole = report.dataset.get("evaluated") or len(report.samples)
    heads = [Column("Metric"), *(Column(_size(n, whole)) for n in sizes), Column(_size(whole, whole))]
    rows = []
    for m in measured:
        assert isinstance(m.outcome, MetricResult)
        points: dict[int, SizePoint] = {point.samples: point for point in m.by_size}
        found = [points[n].value if n in points else None for n in sizes]
        cells = [cell_of(value, m.spec.unit) for value in (*found, m.outcome.value)]
        rows.append((Cell(m.spec.title, "", False), *cells))
    return Grid(tuple(heads), tuple(rows), len(rows))


def _size(samples: int, whole: int) -> str:
    """ "N/4 = 500"; the plain number where it is no such part."""
    part = round(whole / samples)
    if abs(whole / samples - part) > 0.1 * part:
        return f"{samples:,}"
    return f"{'N' if part == 1 else f'N/{part}'} = {samples:,}"
