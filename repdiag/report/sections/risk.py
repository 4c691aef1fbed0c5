"""Which samples a linear classifier will get wrong, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from repdiag.report import views
from repdiag.report.curves import reliability, selective
from repdiag.report.figure import Figure
from repdiag.report.figures import q_score_histogram, risk_predictors
from repdiag.report.sections.headline import risk_words
from repdiag.report.sections.section import Section, Written
from repdiag.types import Report


@dataclass(frozen=True)
class View:
    """The curves, and the riskiest images."""

    figures: tuple[Figure, ...]
    cards: list[views.Card]
    risk: dict[str, Any] | None


def view(report: Report, written: Written) -> View | None:
    """None where there is no risk and nothing to draw."""
    drawn = (f(report) for f in (risk_predictors, selective, reliability, q_score_histogram))
    made = tuple(figure for figure in drawn if figure is not None)
    cards = views.riskiest(report)
    return View(made, cards, risk_words(report)) if made or cards else None


SECTION = Section("risk", "Risk", view)
