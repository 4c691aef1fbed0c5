"""What the numbers depend on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from repdiag.report import views
from repdiag.report.sections.section import Section, Written
from repdiag.types import Report


def view(report: Report, written: Written) -> list[tuple[str, list[tuple[str, str]]]]:
    """Titles and their (name, text) pairs."""
    timing = {step: f"{seconds:.2f}" for step, seconds in report.timing.items()}
    parts: dict[str, Mapping[str, Any]] = {
        "Encoder": report.encoder,
        "Data": report.dataset,
        "Configuration": report.config,
        "Environment": report.environment,
        "Risk": {} if not report.risk else {"score": report.risk.get("score"), **report.risk},
        "Time in seconds": timing,
    }
    return [(title, views.flat(part)) for title, part in parts.items() if part]


SECTION = Section("provenance", "Provenance", view)
