"""The verdict of each family, and what to do next."""

from __future__ import annotations

from dataclasses import dataclass

from repdiag.exhibits import Advice
from repdiag.report.sections.section import Section, Written
from repdiag.types import Report


@dataclass(frozen=True)
class View:
    """What the template shows besides the report itself."""

    advice: tuple[Advice, ...]


def view(report: Report, written: Written) -> View | None:
    """None without verdicts and advice."""
    if not report.verdicts and not report.exhibits.advice:
        return None
    return View(report.exhibits.advice)


SECTION = Section("verdicts", "Verdict", view)
