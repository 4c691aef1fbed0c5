"""Every table as a file."""

from __future__ import annotations

from repdiag.report.sections.section import Section, Written
from repdiag.types import Report

DESCRIPTIONS = {
    "report.json": "everything but the per-sample values, with full provenance",
    "metrics.csv": "one row per metric",
    "classes.csv": "one row per class",
    "pairs.csv": "one row per pair of classes that lie close",
    "clusters.csv": "one row per k-means cluster",
    "features.csv": "one row per feature",
    "kept_features.csv": "the smallest set of features that keeps the accuracy, for `repdiag export --features`",
    "samples.csv": "one row per image",
}


def view(report: Report, written: Written) -> list[tuple[str, str, int | None]]:
    """Name, contents and rows of each file beside the page; the one that not every report has only where it is."""
    return [
        (name, words, written[name].rows if name in written else None)
        for name, words in DESCRIPTIONS.items()
        if name != "kept_features.csv" or name in written
    ]


SECTION = Section("downloads", "Files", view)
