"""An audit as one HTML file that opens anywhere, offline, and runs nothing but its own scripts."""

from __future__ import annotations

from collections.abc import Mapping

from repdiag.audits.outputs import views, words
from repdiag.audits.outputs.figures import figures
from repdiag.audits.outputs.tables import DESCRIPTIONS
from repdiag.audits.types import Audit, Copies, Suspects
from repdiag.report import grids
from repdiag.report.page import render_page
from repdiag.report.page_files import files_of
from repdiag.report.sections import downloads
from repdiag.report.tables import TableFile


def render(audit: Audit, images: Mapping[str, bytes], tables: Mapping[str, TableFile] | None = None) -> str:
    """The page's text. `images` are JPEG bytes by id; `tables` (file name -> rows) is what the files hold."""
    lists = views.page(audit, images)
    report = audit.report
    title = f"{grids.text(report.encoder.get('name', 'encoder'))} on {grids.text(report.dataset.get('name', 'data'))}"
    files = files_of(DESCRIPTIONS, tables or {})
    return render_page(
        "audit.html.j2",
        title=title,
        styles=("figures.css", "audit.css", "downloads.css"),
        scripts=("tables.js", "audit.js", "downloads.js"),
        data=downloads.data(files),
        skip_to="worth",
        audit=audit,
        counts=_counts(audit),
        worth=grids.text(words.worth(audit)),
        numbers=_numbers(audit),
        risk_note=grids.text(report.risk.get("explanation") or ""),
        risk_title=grids.text(report.risk.get("title") or report.risk.get("score") or ""),
        warnings=[grids.text(w) for w in audit.warnings],
        figures=figures(audit),
        no_curve=audit.no_curve,
        page=lists,
        cards=sum(len(section.cards) for section in lists.sections),
        pictured=bool(images),
        pair_rows=views.group_rows(audit.pairs),
        cluster_rows=views.group_rows(audit.clusters),
        group_heads=views.GROUP_HEADS,
        pair_choices=views.choices(audit.pairs),
        cluster_choices=views.choices(audit.clusters),
        copies_said=grids.text(words.copies(audit)),
        suspects_said=grids.text(words.suspects(audit)),
        copy_groups=len(audit.copies.groups) if isinstance(audit.copies, Copies) else 0,
        suspects=len(audit.suspects.found) if isinstance(audit.suspects, Suspects) else 0,
        downloads=files,
    )


def _counts(audit: Audit) -> list[tuple[int, str]]:
    return [
        (len(audit.reviewed), "images to review"),
        (audit.catch.evaluated, "in the report"),
        *([(len(audit.pairs), "class pairs")] if audit.pairs else []),
    ]


def _numbers(audit: Audit) -> list[tuple[str, str, str]]:
    """The cards at the top: title, number, what it means."""
    catch, made = audit.catch, []
    if catch.expected is not None and catch.low is not None and catch.high is not None:
        made.append(
            (
                "Errors expected",
                f"{catch.expected:.1f}",
                f"the sum of the risks; {catch.low:.0f} to {catch.high:.0f} were each risk right",
            )
        )
    if catch.found is not None:
        of = f"of {catch.errors:,} in the whole report" if catch.errors is not None else ""
        made.append(("Misclassified among them", f"{catch.found:,}", of))
    if isinstance(audit.copies, Copies):
        made.append(
            ("Near-duplicates", f"{audit.copies.samples:,}", f"images in {len(audit.copies.groups):,} groups")
        )
    if isinstance(audit.suspects, Suspects):
        made.append(
            (
                "Suspect labels",
                f"{len(audit.suspects.found):,}",
                f"of {audit.suspects.judged:,} labels",
            )
        )
    return made
