"""Which features carry the meaning, and how far the space can be compressed."""

from __future__ import annotations

from dataclasses import dataclass

from repdiag.report.curves import compression
from repdiag.report.figure import Figure
from repdiag.report.figures import activation_curve
from repdiag.report.sections.section import Section, Written
from repdiag.types import Report


@dataclass(frozen=True)
class View:
    """The curves."""

    figures: tuple[Figure, ...]


def view(report: Report, written: Written) -> View | None:
    """None where nothing about features is known."""
    made = tuple(f for f in (activation_curve(report), compression(report)) if f is not None)
    return View(made) if made else None


SECTION = Section("features", "Features", view)
