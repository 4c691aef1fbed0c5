"""An explanation as one HTML file that opens anywhere, offline."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from repdiag.explaining.outputs import pictures, views, words
from repdiag.explaining.outputs.figures import figures
from repdiag.explaining.outputs.tables import DESCRIPTIONS
from repdiag.explaining.types import Explanation
from repdiag.report import grids
from repdiag.report.page import render_page
from repdiag.report.tables import TableFile
from repdiag.types import Skipped


def render(found: Explanation, tables: Mapping[str, TableFile] | None = None) -> str:
    """The page's text. `tables` (file name -> rows) adds row counts to the files beside the page."""
    page = views.page(found)
    measured = not isinstance(found.overlaps, Skipped)
    sections = [("overlap", "Object or not")] if measured else []
    sections += [("samples", "Samples")] if page.cards else []
    sections += [("features", "Features")] if page.strips else []
    sections += [("provenance", "Provenance"), ("downloads", "Files")]
    notes = [] if isinstance(found.overlaps, Skipped) else [grids.text(n) for n in found.overlaps.notes]
    title = f"{grids.text(found.encoder.get('name', 'encoder'))} on {grids.text(found.dataset.get('name', 'data'))}"
    return render_page(
        "explain.html.j2",
        title=title,
        styles=("explain.css",),
        scripts=("explain.js",),
        skip_to=sections[0][0],
        found=found,
        sections=sections,
        facts=_facts(found),
        target=words.target(found),
        place=grids.text(words.place(found)),
        masks_said=words.masks(found),
        mask_notes=notes,
        page=page,
        figures=figures(found.overlaps) if not isinstance(found.overlaps, Skipped) else [],
        boxes=not isinstance(found.overlaps, Skipped) and "background" in found.overlaps.regions,
        legend="data:image/png;base64," + base64.b64encode(pictures.legend()).decode("ascii"),
        samples_cut=views.cut(len(page.cards), len(found.samples), "sample"),
        features_cut=views.cut(len(page.strips), len(found.features), "feature"),
        risk_title=grids.text(found.risk.get("title") or ""),
        risk_validated=bool(found.risk.get("validated")),
        feature_note=grids.text(found.notes.get("features", "")),
        warnings=[grids.text(w) for w in found.warnings],
        provenance=views.provenance(found),
        files=[(name, said, (tables or {})[name].rows if name in (tables or {}) else None)
               for name, said in DESCRIPTIONS.items()],
    )  # fmt: skip


def _facts(found: Explanation) -> list[tuple[str, str]]:
    """What was explained, in a line: (number, what it counts)."""
    said = [("", grids.text(found.encoder["architecture"]))] if found.encoder.get("architecture") else []
    said.append(
        (f"{len(found.samples):,}", "samples explained" if len(found.samples) != 1 else "sample explained")
    )
    if found.features:
        said.append(
            (f"{len(found.features):,}", "top features" if len(found.features) != 1 else "top feature")
        )
    if not isinstance(found.overlaps, Skipped):
        said.append((f"{found.overlaps.maps:,}", "heat maps against masks"))
    return said
