"""The classes, in a table that sorts and filters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from repdiag.report.columns import CLASS_COLUMNS, column_of, numeric
from repdiag.report.grids import Grid, cell_of, class_grid, text
from repdiag.report.sections.section import Section, Written
from repdiag.types import Report

FIRST = 200  # rows that are shown until a reader asks for all, where a script runs
STEP = 2  # percent between the lengths that a bar can have; the style sheet has a class for each
ERRORS = frozenset({"nearest_center_error"})
"""Shares of what goes wrong: their bars have the color of errors."""


@dataclass(frozen=True)
class View:
    """The table, the extremes in a sentence, the row of the worst class, and the columns' bars row by row."""

    grid: Grid
    judged_by: str  # title of the column that says which class is best; "" without one
    judged_at: int  # its index
    best: tuple[str, str, int]  # a name, the value, and how many more classes have it
    worst: tuple[str, str, int]
    marks: tuple[bool, ...]  # of each row: whether it is (one of) the worst
    bars: tuple[tuple[str, ...], ...]  # of each cell: the class names of its bar, "" for none
    first: int

    def __post_init__(self) -> None:
        if not len(self.marks) == len(self.bars) == len(self.grid.rows):
            raise ValueError(
                f"{len(self.marks)} marks and {len(self.bars)} bars for {len(self.grid.rows)} rows"
            )


def view(report: Report, written: Written) -> View | None:
    """None without labels."""
    grid = class_grid(report)
    if grid is None:
        return None
    titles = [column.title for column in grid.columns]
    shares = [i for i, column in enumerate(grid.columns) if column.unit == "share"]
    errors = {titles.index(column_of(name).title) for name in ERRORS if column_of(name).title in titles}
    bars = tuple(
        tuple(
            _bar(cell.exact, i in errors) if i in shares and cell.exact else "" for i, cell in enumerate(row)
        )
        for row in grid.rows
    )
    found = _extremes(report)
    if found is None:
        return View(grid, "", -1, ("", "", 0), ("", "", 0), (False,) * len(grid.rows), bars, FIRST)
    name, best, worst = found
    at = titles.index(CLASS_COLUMNS[name].title)
    values = numeric(report.classes, name)
    assert values is not None
    differ = float(values[worst]) < float(values[best])
    marks = tuple(
        differ and bool(row[at].exact) and float(row[at].exact) == float(values[worst]) for row in grid.rows
    )
    highest, lowest = (_told(report, name, row) for row in (best, worst))
    return View(grid, CLASS_COLUMNS[name].title, at, highest, lowest, marks, bars, FIRST)


def _bar(exact: str, error: bool) -> str:
    """Class names of a bar that is as long as the share, to the step below 100% that is nearest."""
    percent = STEP * round(100 * min(max(float(exact), 0.0), 1.0) / STEP)
    return f"bar b{percent}" + (" error" if error else "")


def _extremes(report: Report) -> tuple[str, int, int] | None:
    """The column by which classes are judged, and the rows with its highest and its lowest value."""
    for name in ("accuracy", "knn_purity"):
        values = numeric(report.classes, name)
        if values is not None and np.isfinite(values).any():
            return name, int(np.nanargmax(values)), int(np.nanargmin(values))
    return None


def _told(report: Report, name: str, row: int) -> tuple[str, str, int]:
    columns = report.classes.columns
    value = columns[name][row]
    more = int((columns[name] == value).sum()) - 1
    return text(columns["class"][row]), cell_of(value, CLASS_COLUMNS[name].unit).shown, more


SECTION = Section("classes", "Classes", view, ("classes.css",), ("tables.js",))
