"""Which classes crowd which: the worst by name, their matrix, the nearest pairs with pictures, the measures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from repdiag.report.axes_figure import ForestRow, forest_row
from repdiag.report.columns import PAIR_COLUMNS, column_of, numeric
from repdiag.report.grids import Cell, Grid, cell_of, text
from repdiag.report.heatmap import Heatmap, heatmap
from repdiag.report.pair_cards import PairCard, pair_cards
from repdiag.report.sections.section import Section, Written
from repdiag.report.views import Metric, metric
from repdiag.types import MetricResult, Report

FIRST = (
    "nearest_center_error",
    "knn_purity",
    "r2_separation",
    "intra_class_variance",
    "inter_class_distance",
    "inter_class_distance_min",
    "cdnv",
    "directional_cdnv",
)
"""Measures that are drawn at once; the others of the family follow when they are asked for."""

WORST = 3
CARDS = 4  # seen at once
MAX_PAIRS = 300  # rows of the pairs' table


@dataclass(frozen=True)
class View:
    """Each part is empty, or None, where the report does not have it.

    `worst` are the classes with the largest share of samples nearer to another center, `error` that share over all.
    `chosen` says that the cards are the pairs that crowd most, and not the first of pairs.csv; `left_out` counts
    pictures for which the page has no room.
    """

    worst: tuple[tuple[str, Cell], ...]
    error: Metric | None
    heat: Heatmap | None
    cards: tuple[PairCard, ...]
    chosen: bool
    pictures: bool
    left_out: int
    pairs: Grid | None
    first: tuple[ForestRow, ...]
    further: tuple[ForestRow, ...]
    null_name: str
    seen: int = CARDS


def view(report: Report, written: Written) -> View | None:
    """None where neither pairs of classes nor a measure of crowding is known."""
    matrix = report.exhibits.matrix
    heat = None if matrix is None else heatmap(matrix)
    cards, left_out = pair_cards(report)
    pairs = pair_grid(report)
    rows = [forest_row(m) for m in report.measurements if m.spec.family == "crowding"]
    known = {row.metric.spec.name: row for row in rows if row is not None}
    if pairs is None and heat is None and not known:
        return None
    error = report.measurement("nearest_center_error")
    first = tuple(known[name] for name in FIRST if name in known)
    return View(
        worst_classes(report),
        metric(error) if error is not None and isinstance(error.outcome, MetricResult) else None,
        heat,
        cards,
        bool(report.exhibits.pairs),
        any(card.a_images or card.b_images for card in cards),
        left_out,
        pairs,
        first,
        tuple(row for name, row in known.items() if name not in FIRST),
        next((row.metric.null_name for row in first if row.metric.null_name), ""),
    )


def worst_classes(report: Report) -> tuple[tuple[str, Cell], ...]:
    """Names and shares of the classes with the largest `nearest_center_error` in classes.csv, those above zero."""
    share = numeric(report.classes, "nearest_center_error")
    if share is None:
        return ()
    order = np.argsort(-np.nan_to_num(share), kind="stable")[:WORST]
    names = report.classes.columns["class"]
    return tuple((text(names[i]), cell_of(float(share[i]), "share")) for i in order if share[i] > 0)


def pair_grid(report: Report) -> Grid | None:
    """The first MAX_PAIRS rows of pairs.csv, which has the closest first."""
    columns = report.pairs.columns
    if not len(report.pairs):
        return None
    names = [name for name in PAIR_COLUMNS if name in columns]
    names += [name for name in columns if name not in PAIR_COLUMNS]
    heads = tuple(column_of(name, PAIR_COLUMNS) for name in names)
    rows = tuple(
        tuple(cell_of(columns[name][row], head.unit) for name, head in zip(names, heads, strict=True))
        for row in range(min(len(report.pairs), MAX_PAIRS))
    )
    return Grid(heads, rows, len(report.pairs))


def data(view: View) -> Mapping[str, Any]:
    """What the matrix says of each cell."""
    return {} if view.heat is None else {"matrix-data": view.heat.data}


SECTION = Section(
    "crowding", "Crowding", view, ("forest.css", "crowding.css"), ("tables.js", "crowding.js"), data
)
