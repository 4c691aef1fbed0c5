"""Which classes crowd which: their matrix, and the nearest pairs."""

from __future__ import annotations

from dataclasses import dataclass

from repdiag.report.grids import Grid, pair_grid
from repdiag.report.sections.section import Section, Written
from repdiag.types import Report


@dataclass(frozen=True)
class View:
    """The nearest pairs of classes."""

    pairs: Grid


def view(report: Report, written: Written) -> View | None:
    """None without classes."""
    pairs = pair_grid(report)
    return None if pairs is None else View(pairs)


SECTION = Section("crowding", "Crowding", view)
