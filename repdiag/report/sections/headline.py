"""The numbers to look at first, what the risk rests on, and warnings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from repdiag.report import grids, views
from repdiag.report.numbers import interval_text, number
from repdiag.report.sections.section import Section, Written
from repdiag.types import Interval, Report


@dataclass(frozen=True)
class View:
    """Headline metrics, those that were skipped by reason, the risk in words, warnings and how many there are."""

    cards: list[views.Metric]
    not_measured: list[tuple[str, list[str]]]
    risk: dict[str, Any] | None
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
    return View(cards, views.not_measured(report), risk_words(report), warnings, len(report.warnings))


def risk_words(report: Report) -> dict[str, Any] | None:
    """The risk's sentence parts, or None when no risk was made."""
    risk = report.risk
    if not risk:
        return None
    said = {key: grids.text(risk.get(key) or "") for key in ("title", "score", "explanation")}
    auroc, low, high = risk.get("auroc"), risk.get("low"), risk.get("high")
    measured = ""
    if auroc is not None:
        measured = f"AUROC {number(auroc)}"
        if low is not None and high is not None:
            measured += " " + interval_text(Interval(low, high, "", 0), "", auroc)
    return {**said, "validated": bool(risk.get("validated")), "measured": measured}


SECTION = Section("headline", "Headline", view, ("headline.css",))
