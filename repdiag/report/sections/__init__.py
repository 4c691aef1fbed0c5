"""The sections of the report's page, in reading order. A new section is a file here, a template, and its line."""

from __future__ import annotations

from repdiag.report.sections import (
    classes,
    crowding,
    downloads,
    features,
    headline,
    map,
    metrics,
    provenance,
    risk,
    sizes,
    stability,
    verdicts,
)
from repdiag.report.sections.section import Section

SECTIONS: tuple[Section, ...] = tuple(
    module.SECTION
    for module in (
        verdicts,
        headline,
        crowding,
        map,
        stability,
        features,
        risk,
        classes,
        metrics,
        sizes,
        provenance,
        downloads,
    )
)
