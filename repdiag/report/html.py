"""The report's page: its sections, each from a file of its own, in one frame."""

from __future__ import annotations

from repdiag.report import grids
from repdiag.report.page import render_page
from repdiag.report.sections import SECTIONS
from repdiag.report.sections.section import Written
from repdiag.types import Report


def render(report: Report, tables: Written | None = None) -> str:
    """The page's text. `tables` (file name -> rows) is what the files beside the page hold."""
    made = [(section, section.view(report, tables or {})) for section in SECTIONS]
    shown = [(section, view) for section, view in made if view is not None]
    data = [section.data(view) for section, view in shown]
    return render_page(
        "report.html.j2",
        title=f"{grids.text(report.encoder.get('name', 'encoder'))} on "
        f"{grids.text(report.dataset.get('name', 'data'))}",
        styles=[name for section, _ in shown for name in section.styles],
        scripts=[name for section, _ in shown for name in section.scripts],
        data={name: value for part in data for name, value in part.items()},
        skip_to=shown[0][0].key,
        report=report,
        counts=_counts(report),
        sections=shown,
    )


def _counts(report: Report) -> list[tuple[int, str]]:
    counts = [(len(report.samples), "images"), (len(report.features), "features")]
    return counts + ([(len(report.classes), "classes")] if len(report.classes) else [])
