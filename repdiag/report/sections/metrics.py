"""Every metric with its interval, null, range and source."""

from __future__ import annotations

from repdiag.report import views
from repdiag.report.sections.section import Section, Written
from repdiag.types import Report


def view(report: Report, written: Written) -> list[tuple[str, list[views.Metric]]] | None:
    """The metrics by family; None where none was measured."""
    return views.families(report) or None


SECTION = Section("metrics", "Metrics", view)
