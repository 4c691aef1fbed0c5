"""How the numbers move with the number of samples."""

from __future__ import annotations

from repdiag.report.grids import Grid, size_grid
from repdiag.report.sections.section import Section, Written
from repdiag.types import Report


def view(report: Report, written: Written) -> Grid | None:
    """None where nothing was measured on parts of the samples."""
    return size_grid(report)


SECTION = Section("sizes", "By N", view)
