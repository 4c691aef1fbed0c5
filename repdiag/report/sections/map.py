"""The map: UMAP and PCA of the embeddings side by side, for looking only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from repdiag.report.numbers import quantity
from repdiag.report.scatter import Plane, map_data, scatter, sprite_data, still
from repdiag.report.sections.section import Section, Written
from repdiag.types import Report


@dataclass(frozen=True)
class Panel:
    """One of the pictures: what stands under it, and its dots for a page without scripts."""

    plane: Plane
    caption: str
    dots: list[tuple[str, str]]


@dataclass(frozen=True)
class View:
    """The pictures, how many of the samples they show, and what the script draws."""

    panels: tuple[Panel, ...]
    count: int
    total: int
    thinned: bool
    values: Mapping[str, Any]
    sprite: Mapping[str, Any] | None


def view(report: Report, written: Written) -> View | None:
    """None where no sample has a place."""
    shown = scatter(report)
    if shown is None:
        return None
    return View(
        tuple(
            Panel(plane, _caption(plane, report.exhibits.pca_explained), dots)
            for plane, dots in still(report, shown)
        ),
        int(shown.rows.size),
        shown.total,
        shown.thinned,
        map_data(report, shown),
        sprite_data(report, shown),
    )


def _caption(plane: Plane, explained: tuple[float, float] | None) -> str:
    if plane.key == "umap":
        return "For looking only: distances, sizes and gaps between islands mean little."
    if explained is None:
        return "A straight projection: distances are true in this plane, and what it leaves out is not seen."
    return (
        f"A straight projection: these two axes hold {quantity(sum(explained), 'share')} of the variance "
        f"({quantity(explained[0], 'share')} and {quantity(explained[1], 'share')}); the rest is not seen here."
    )


def data(view: View) -> Mapping[str, Any]:
    """What the scripts draw; the pictures lie apart, since they are read only when one is needed."""
    return {"map-data": view.values} | ({} if view.sprite is None else {"map-sprite": view.sprite})


SECTION = Section(
    "map",
    "Map",
    view,
    ("map.css",),
    ("map-data.js", "map-draw.js", "map-card.js", "map-select.js", "map.js"),
    data,
)
