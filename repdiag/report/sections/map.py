"""The map: UMAP and PCA of the embeddings, for looking only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from repdiag.report.scatter import map_data
from repdiag.report.sections.section import Section, Written
from repdiag.types import Report


def view(report: Report, written: Written) -> dict[str, Any] | None:
    """None where no map was made."""
    return map_data(report)


def data(view: dict[str, Any]) -> Mapping[str, Any]:
    """What the script draws."""
    return {"map-data": view}


SECTION = Section("map", "Map", view, (), ("map.js",), data)
