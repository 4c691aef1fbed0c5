"""The report's page: its sections, each from a file of its own, in one frame."""

from __future__ import annotations

from datetime import datetime

from repdiag.report import grids
from repdiag.report.page import render_page
from repdiag.report.sections import SECTIONS
from repdiag.report.sections.section import Written
from repdiag.types import Report

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


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
        facts=facts(report),
        day=_day(report.created),
        warned=len(report.warnings),
        places=_places(report, [(section.key, section.title) for section, _ in shown]),
        sections=shown,
    )


def facts(report: Report) -> list[tuple[str, str]]:
    """What was scored, in a line: (number, what it counts); the number is empty where the words say it all."""
    architecture = report.encoder.get("architecture")
    samples, evaluated = report.dataset.get("samples"), len(report.samples)
    said = [("", grids.text(architecture))] if architecture else []
    said.append((f"{len(report.features):,}", "features"))
    said.append((f"{evaluated:,}", "images"))
    if isinstance(samples, int) and samples > evaluated > 0:
        said[-1] = (f"{evaluated:,}", f"of {samples:,} images scored")
    return said + ([(f"{len(report.classes):,}", "classes")] if len(report.classes) else [])


def _places(report: Report, sections: list[tuple[str, str]]) -> dict[str, str]:
    """Ids that a link can lead to and what they are called: the sections, and the families among the metrics."""
    places = dict(sections)
    if "metrics" in places:
        families = dict.fromkeys(m.spec.family for m in report.measurements)
        places |= {f"family-{family}": places["metrics"] for family in families}
    return places


def _day(created: str) -> str:
    """ "21 Nov 2026" of an ISO time; the text itself where it is none."""
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        return grids.text(created)
    return f"{moment.day} {MONTHS[moment.month - 1]} {moment.year}"
