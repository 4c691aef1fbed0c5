"""An explanation as one HTML file that opens anywhere, offline."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from repdiag.explaining.outputs import pictures, views, words
from repdiag.explaining.outputs.figures import figures
from repdiag.explaining.types import Explanation
from repdiag.report import grids
from repdiag.report.page import render_page
from repdiag.report.sections import downloads
from repdiag.report.tables import TableFile
from repdiag.types import Skipped


def render(found: Explanation, tables: Mapping[str, TableFile] | None = None) -> str:
    """The page's text. `tables` (file name -> rows) is what the files beside the page hold."""
    page = views.page(found)
    overlaps = None if isinstance(found.overlaps, Skipped) else found.overlaps
    files = views.downloads(tables or {})
    sections = [("overlap", "Object or not")] if overlaps is not None else []
    sections += [("samples", "Samples")] if page.cards else []
    sections += [("features", "Features")] if page.strips else []
    sections += [("provenance", "Provenance"), ("downloads", "Files")]
    return render_page(
        "explain.html.j2",
        title=f"{grids.text(found.encoder.get('name', 'encoder'))} on "
        f"{grids.text(found.dataset.get('name', 'data'))}",
        styles=("provenance.css", "downloads.css", "explain.css"),
        scripts=("downloads.js", "explain.js"),
        data=downloads.data(files),
        skip_to=sections[0][0],
        found=found,
        sections=sections,
        facts=_facts(found),
        said=words.explained(found),
        target=words.target(found),
        place=grids.text(words.place(found)),
        masks_said=grids.text(words.masks(found)),
        mask_notes=[] if overlaps is None else [grids.text(n) for n in overlaps.notes],
        page=page,
        figures=[] if overlaps is None else figures(overlaps),
        even="" if overlaps is None else words.even(overlaps),
        boxes=overlaps is not None and "background" in overlaps.regions,
        legend="data:image/png;base64," + base64.b64encode(pictures.legend()).decode("ascii"),
        samples_cut=views.cut(len(page.cards), len(found.samples), "sample"),
        features_cut=views.cut(len(page.strips), len(found.features), "feature"),
        samples_said=grids.text(words.chosen(found)),
        feature_note=grids.text(found.notes.get("features", "")),
        warnings=[grids.text(w) for w in found.warnings],
        provenance=views.provenance(found),
        downloads=files,
    )


def _facts(found: Explanation) -> list[tuple[str, str]]:
    """What was explained, in a line: (number, what it counts)."""
    architecture = found.encoder.get("architecture")
    said = [("", grids.text(architecture))] if architecture else []
    said.append((f"{len(found.samples):,}", f"{_plural('sample', len(found.samples))} explained"))
    if found.features:
        said.append((f"{len(found.features):,}", _plural("top feature", len(found.features))))
    if not isinstance(found.overlaps, Skipped):
        said.append((f"{found.overlaps.maps:,}", "heat maps held against masks"))
    return said


def _plural(what: str, n: int) -> str:
    return what if n == 1 else f"{what}s"
