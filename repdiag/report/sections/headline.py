"""The numbers to look at first, a risk that nothing confirmed, and warnings."""

from __future__ import annotations

from dataclasses import dataclass

from repdiag.report import grids, views
from repdiag.report.sections.section import Section, Written
from repdiag.types import Report


@dataclass(frozen=True)
class View:
    """Headline metrics, those that were skipped by reason, a risk that is a guess, warnings and how many there are."""

    cards: list[views.Metric]
    not_measured: list[tuple[str, list[str]]]
    guess: tuple[str, str] | None
    warnings: list[str]
    warned: int


def view(report: Report, written: Written) -> View:
    """Always there."""
    cards = [
        metric
        for _, metrics in views.families(report)
        for metric in metrics
        if metric.spec.headline and metric.skipped is None
    ]
    warnings = [grids.text(warning) for warning in report.warnings[: grids.MAX_ROWS]]
    return View(cards, views.not_measured(report), guessed_risk(report), warnings, len(report.warnings))


def guessed_risk(report: Report) -> tuple[str, str] | None:
    """What a risk rests on that nothing confirmed, and why; None where it was measured, or there is none.

    A measured risk is told in its own section; one that is a guess must be known before any number is read.
    """
    risk = report.risk
    if not risk or risk.get("validated"):
        return None
    return grids.text(risk.get("title") or risk.get("score") or "an unnamed score"), grids.text(
        risk.get("explanation") or ""
    )


SECTION = Section("headline", "Headline", view, ("headline.css",))
