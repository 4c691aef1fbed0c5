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
    """Families of metrics, headline metrics that were skipped, the risk in words, warnings."""

    families: list[tuple[str, list[views.Metric]]]
    not_measured: list[tuple[str, list[str]]]
    risk: dict[str, Any] | None
    warnings: list[str]


def view(report: Report, written: Written) -> View:
    """Always there."""
    warnings = [grids.text(w) for w in report.warnings[: grids.MAX_ROWS]]
    return View(views.families(report), views.not_measured(report), risk_words(report), warnings)


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


SECTION = Section("headline", "Headline", view)
