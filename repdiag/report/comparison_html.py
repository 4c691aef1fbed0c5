"""A comparison as one HTML file that opens anywhere, offline, and runs nothing but its own script."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from markupsafe import Markup

from repdiag.comparison.types import Comparison
from repdiag.report import comparison_changes, comparison_done, comparison_views, grids
from repdiag.report.comparison_arms import Reading, multiplicity, skipped_reasons
from repdiag.report.comparison_curves import curves, q_scores
from repdiag.report.comparison_tables import DESCRIPTIONS
from repdiag.report.page import asset, content_policy, environment
from repdiag.report.tables import TableFile
from repdiag.report.text import clean


def render_comparison(comparison: Comparison, tables: Mapping[str, TableFile] | None = None) -> str:
    """The page's text. `tables` (file name -> rows) adds row counts to the list of files."""
    reading = Reading(comparison)
    styles = Markup("{}\n{}").format(asset("report.css"), asset("comparison.css"))
    script = asset("comparison.js")
    lines = comparison_views.lines(reading)
    rendered = (
        environment()
        .get_template("comparison.html.j2")
        .render(
            comparison=comparison,
            title=_title(comparison),
            policy=content_policy(styles, (script,)),
            styles=styles,
            scripts=(script,),
            counts=_counts(reading),
            reading=reading,
            answer=comparison_views.answer(reading),
            warnings=[grids.text(w) for w in comparison.warnings[: grids.MAX_ROWS]],
            lines=lines,
            families=comparison_views.families(reading, lines),
            multiplicity=multiplicity(reading),
            skipped=skipped_reasons(reading),
            ablation=comparison_views.ablation(reading),
            curves=curves(reading),
            q_scores=q_scores(reading),
            classes=comparison_changes.classes(reading),
            changed=comparison_changes.changed(reading),
            runs=comparison_done.runs(reading),
            provenance=comparison_done.provenance(reading),
            files=_files(comparison, tables or {}),
            words=grids.text,
            tail="",
        )
    )
    return clean(rendered)


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


def _files(
    comparison: Comparison, tables: Mapping[str, TableFile]
) -> list[tuple[str, str | None, str, int | None]]:
    """Name, address (None where it is no plain name in this folder), contents and rows of each file."""
    ours = [
        (name, name, words, tables[name].rows if name in tables else None)
        for name, words in DESCRIPTIONS.items()
    ]
    others = [(grids.text(n), _address(n), grids.text(words), None) for n, words in comparison.files.items()]
    return [*others, *ours]


def _address(name: str) -> str | None:
    plain = not name.startswith(("/", "\\", "~")) and ":" not in name and ".." not in name.split("/")
    return "./" + quote(clean(name)) if plain else None
