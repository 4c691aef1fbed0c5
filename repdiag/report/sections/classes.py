"""The classes, in a table that sorts and filters."""

from __future__ import annotations

from repdiag.report.grids import Grid, class_grid
from repdiag.report.sections.section import Section, Written
from repdiag.types import Report


def view(report: Report, written: Written) -> Grid | None:
    """None without labels."""
    return class_grid(report)


SECTION = Section("classes", "Classes", view, (), ("tables.js",))
