"""A comparison as one HTML file that opens anywhere, offline, and runs nothing but its own scripts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from repdiag.comparison.types import Comparison
from repdiag.report import comparison_changes, comparison_done, comparison_views, grids
from repdiag.report.comparison_arms import Reading, multiplicity, skipped_reasons
from repdiag.report.comparison_curves import curves, q_scores
from repdiag.report.comparison_tables import DESCRIPTIONS
from repdiag.report.page import render_page
from repdiag.report.page_files import files_of
from repdiag.report.sections import downloads
from repdiag.report.tables import TableFile
from repdiag.report.text import clean

STYLES = ("figures.css", "comparison.css", "downloads.css")
SCRIPTS = ("tables.js", "downloads.js")


def render_comparison(comparison: Comparison, tables: Mapping[str, TableFile] | None = None) -> str:
    """The page's text. `tables` (file name -> rows) is what the files beside the page hold."""
    reading = Reading(comparison)
    files = files_of(DESCRIPTIONS, tables or {})
    return render_page(
        "comparison.html.j2",
        title=_title(comparison),
        styles=STYLES,
        scripts=SCRIPTS,
        data=downloads.data(files),
        counts=_counts(reading),
        **shared(reading),
        curves=curves(reading),
        classes=comparison_changes.classes(reading),
        changed=comparison_changes.changed(reading),
        runs=comparison_done.runs(reading),
        provenance=comparison_done.provenance(reading),
        made_files=_made_files(comparison),
        downloads=files,
        document="comparison.json",
        tail="",
    )


def shared(reading: Reading) -> dict[str, Any]:
    """What the templates of every comparison's page use."""
    comparison, lines = reading.comparison, comparison_views.lines(reading)
    return {
        "skip_to": "verdict",
        "comparison": comparison,
        "reading": reading,
        "answer": comparison_views.answer(reading),
        "warnings": [grids.text(w) for w in comparison.warnings[: grids.MAX_ROWS]],
        "lines": lines,
        "families": comparison_views.families(reading, lines),
        "multiplicity": multiplicity(reading),
        "skipped": skipped_reasons(reading),
        "ablation": comparison_views.ablation(reading),
        "q_scores": q_scores(reading),
    }


def _title(comparison: Comparison) -> str:
    subject = f"{grids.text(comparison.subject)} against {grids.text(comparison.against)}"
    if not comparison.arms:
        return subject
    first = comparison.arms[0].report
    encoder, data = first.encoder.get("name", "encoder"), first.dataset.get("name", "data")
    return f"{subject}: {grids.text(encoder)} on {grids.text(data)}"


def _counts(reading: Reading) -> list[tuple[int, str]]:
    seeds = {run.seed for arm in reading.arms for run in arm.runs if run.seed is not None}
    counts = [(len(reading.arms), "arms"), (len(seeds), "seed" if len(seeds) == 1 else "seeds")]
    counts.append((len(reading.comparison.samples), "images"))
    known = len(reading.comparison.classes)
    return counts + ([(known, "classes")] if known else [])


def _made_files(comparison: Comparison) -> list[tuple[str, str | None, str]]:
    """What else lies beside the page (encoders, say): name, address (None where it is no plain name), contents."""
    return [(grids.text(n), _address(n), grids.text(words)) for n, words in comparison.files.items()]


def _address(name: str) -> str | None:
    plain = not name.startswith(("/", "\\", "~")) and ":" not in name and ".." not in name.split("/")
    return "./" + quote(clean(name)) if plain else None
