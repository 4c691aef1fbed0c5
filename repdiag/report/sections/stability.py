"""Do clusters hold still: along each axis, and cluster by cluster."""

from __future__ import annotations

from dataclasses import dataclass

from repdiag.report.grids import Grid, cluster_grid
from repdiag.report.sections.section import Section, Written
from repdiag.types import Report


@dataclass(frozen=True)
class View:
    """The cluster table."""

    clusters: Grid | None


def view(report: Report, written: Written) -> View | None:
    """None where no cluster was made."""
    clusters = cluster_grid(report)
    return None if clusters is None else View(clusters)


SECTION = Section("stability", "Stability", view)
