"""Encoders side by side as one HTML file that opens anywhere, offline, and runs nothing but its own scripts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from repdiag.comparison.side_by_side import SideBySide
from repdiag.report import comparison_changes, grids, side_by_side_views, trajectory_curves
from repdiag.report.comparison_arms import Reading
from repdiag.report.comparison_html import SCRIPTS, STYLES, shared
from repdiag.report.page import render_page
from repdiag.report.page_files import files_of
from repdiag.report.sections import downloads
from repdiag.report.side_by_side_tables import DESCRIPTIONS
from repdiag.report.side_by_side_words import best_words, crowding_counts, fall_words, names_of
from repdiag.report.tables import TableFile

DOCUMENT = "compare.json"


def render_side_by_side(made: SideBySide, tables: Mapping[str, TableFile] | None = None) -> str:
    """The page's text. `tables` (file name -> rows) is what the files beside the page hold."""
    reading = Reading(made.comparison)
    known = {
        name: words for name, words in DESCRIPTIONS.items() if name in (tables or {}) or name == DOCUMENT
    }
    files = files_of(known, tables or {})
    return render_page(
        "side_by_side.html.j2",
        title=_title(made),
        styles=STYLES,
        scripts=SCRIPTS,
        data=downloads.data(files),
        counts=_counts(made),
        **shared(reading),
        run=_run(made),
        crowding=side_by_side_views.crowding(made),
        crowding_counts=[grids.text(line) for line in crowding_counts(made)],
        crowding_notes=[grids.text(note) for note in made.crowding_notes],
        likeness=side_by_side_views.likeness(made),
        made=made,
        curves=[],
        details=[_detail(made, one) for one in side_by_side_views.details(made)],
        encoders=side_by_side_views.encoders(made),
        provenance=side_by_side_views.provenance(made),
        downloads=files,
        document=DOCUMENT,
    )


def _title(made: SideBySide) -> str:
    whole = made.comparison
    others = ", ".join(one.subject for one in made.details[:3]) + (" ..." if len(made.details) > 3 else "")
    data = whole.arms[0].report.dataset.get("name", "data")
    return f"{grids.text(others)} against {grids.text(whole.against)} on {grids.text(data)}"


def _counts(made: SideBySide) -> list[tuple[int, str]]:
    counts = [(len(made.comparison.arms), "encoders"), (len(made.samples), "images that all were scored on")]
    return counts + ([(len(made.classes), "classes")] if len(made.classes) else [])


def _detail(made: SideBySide, one: Any) -> dict[str, Any]:
    """The parts of the page that are about two encoders; `tail` tells their places on the page apart."""
    reading = Reading(one)
    place = made.details.index(one)
    return {
        "reading": reading,
        "comparison": one,
        "classes": comparison_changes.classes(reading),
        "changed": comparison_changes.changed(reading),
        "pairs": side_by_side_views.pairs(made, one.subject),
        "tail": f"-{place + 1}" if len(made.details) > 1 else "",
    }


def _run(made: SideBySide) -> dict[str, Any] | None:
    course = made.trajectory
    if course is None:
        return None
    fallen = {fall.difference.metric for fall in course.falls}
    return {
        "numbered": course.numbered,
        "best": [grids.text(best_words(best, course)) for best in course.best],
        "falls": [grids.text(fall_words(fall)) for fall in course.falls],
        "stayed": names_of(course.followed, fallen, Reading(made.comparison)),
        "figures": trajectory_curves.figures(made),
        "table": trajectory_curves.table(made),
        "ranks": trajectory_curves.ranks(made),
    }
