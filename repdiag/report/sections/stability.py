"""Do clusters hold still: along each axis, and cluster by cluster; and that stable does not mean right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from repdiag.report.axes_figure import ForestRow, axis, forest_row
from repdiag.report.cluster_figures import Dots, dots, histogram
from repdiag.report.figure import Figure
from repdiag.report.grids import Grid, cluster_grid, text
from repdiag.report.numbers import is_missing, number
from repdiag.report.sections.section import Section, Written
from repdiag.report.svg import Scale
from repdiag.report.views import Metric, metric
from repdiag.types import MetricResult, Null, Report, Skipped

AGREEMENT = (
    "seed_ari",
    "subsample_ari",
    "subsample_fowlkes_mallows",
    "cluster_jaccard",
    "prediction_strength",
    "prediction_strength_min",
    "augmentation_ari",
    "layer_ari",
    "checkpoint_ari",
)
"""Measures of agreement, 1 where nothing changes, by the axis along which clusters may move."""

RIGHT = "label_ari"
FLIPS = "flip_rate"
OTHERS = {"layer_ari": ("layer", "ari"), "checkpoint_ari": ("checkpoint", "ari_to_last")}
"""Metrics whose table has a row for each other embedding: columns of its name and of its agreement."""

MAX_OTHERS = 12


@dataclass(frozen=True)
class NotMeasured:
    """An axis without a number, and why: the reason names the option that measures it."""

    name: str
    title: str
    reason: str


@dataclass(frozen=True)
class View:
    """`others` are agreements with single layers or checkpoints as (metric's title, [(name, value)])."""

    rows: tuple[ForestRow, ...]
    axis: Markup
    skipped: tuple[NotMeasured, ...]
    others: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    right: Metric | None
    flips: Metric | None
    null_name: str
    chance: Null | None
    dots: Dots | None
    histogram: Figure | None
    clusters: Grid | None


def view(report: Report, written: Written) -> View | None:
    """None where nothing was clustered."""
    scale = _scale(report)
    rows, skipped, others = [], [], []
    for name in AGREEMENT:
        found = report.measurement(name)
        if found is None:
            continue
        if isinstance(found.outcome, Skipped):
            skipped.append(NotMeasured(name, found.spec.title, text(found.outcome.reason)))
            continue
        row = forest_row(found, scale, guides=(0.0, 1.0))
        assert row is not None
        rows.append(row)
        if name in OTHERS:
            others.append((found.spec.title, _others(found.outcome.table, *OTHERS[name])))
    jaccard = report.value("cluster_jaccard")
    null = None if jaccard is None else jaccard.null
    clusters = dots(report, null)
    if not rows and clusters is None:
        return None
    whole = cluster_grid(report)
    return View(
        tuple(rows),
        axis(scale, _ticks(scale)),
        tuple(skipped),
        tuple(others),
        _measured(report, RIGHT),
        _measured(report, FLIPS),
        next((row.metric.null_name for row in rows if row.metric.null_name), ""),
        null,
        clusters,
        histogram(report, null),
        whole if clusters is not None and len(clusters.rows) < clusters.total else None,
    )


def _measured(report: Report, name: str) -> Metric | None:
    found = report.measurement(name)
    return metric(found) if found is not None and isinstance(found.outcome, MetricResult) else None


def _scale(report: Report) -> Scale:
    """From chance (0) to perfect (1), and below 0 where a number lies there."""
    low = 0.0
    for name in AGREEMENT:
        found = report.value(name)
        if found is not None:
            low = min(low, found.value, 0.0 if found.interval is None else found.interval.low)
    return Scale(max(-0.5, low), 1.0)


def _ticks(scale: Scale) -> list[tuple[float, str]]:
    ticks = [(0.0, "0"), (0.25, "0.25"), (0.5, "0.5"), (0.75, "0.75"), (1.0, "1")]
    return ticks if scale.low == 0 else [(scale.low, number(scale.low)), *ticks[2:]]


def _others(table: tuple[Mapping[str, Any], ...], name: str, value: str) -> tuple[tuple[str, str], ...]:
    """Name and agreement of each row that has one; the first MAX_OTHERS."""
    known = [row for row in table if not is_missing(row.get(value))]
    return tuple((text(row.get(name)), number(row[value])) for row in known[:MAX_OTHERS])


SECTION = Section("stability", "Stability", view, ("forest.css", "stability.css"), ("tables.js",))
