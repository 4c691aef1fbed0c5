"""What the page's templates loop over: a report's parts, cut to a size that a page can hold, nothing computed.

Every limit is said on the page, and what is cut is whole in the files beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from markupsafe import Markup

from repdiag.report import svg
from repdiag.report.columns import cell
from repdiag.report.formula import readable
from repdiag.report.grids import MAX_ROWS, Grid, grid, text
from repdiag.report.numbers import (
    ARROWS,
    MISSING,
    WORDS,
    exact,
    interval_text,
    is_missing,
    null_text,
    number,
    z_score,
)
from repdiag.report.text import sentence
from repdiag.types import Measurement, MetricResult, Report, Skipped, Status

STATUS_WORDS = {
    Status.PAPER: "as read in the paper",
    Status.CODE: "as read in the authors' code",
    Status.PUBLISHED: "a standard measure as the literature has it; its first paper was not re-read",
    Status.ADAPTED: "a published measure with a stated change",
    Status.OURS: "our own definition",
}


@dataclass(frozen=True)
class Metric:
    """One metric as the page shows it."""

    spec: Any
    arrow: str
    arrow_words: str
    status_words: str
    meaning: str
    formula: Markup
    skipped: str | None = None
    value: str = ""  # with "%", but a unit in words stands apart
    unit: str = ""
    exact: str = ""
    interval: str = ""
    interval_words: str = ""
    null: str = ""
    null_name: str = ""
    null_words: str = ""
    strip: str = ""
    note: str | None = None
    parameters: tuple[tuple[str, str], ...] = ()
    table: Grid | None = None


def metric(measurement: Measurement) -> Metric:
    """The view of one measurement."""
    spec, outcome = measurement.spec, measurement.outcome
    common = (
        spec,
        ARROWS[spec.direction],
        WORDS[spec.direction],
        STATUS_WORDS[spec.status],
        sentence(spec.meaning),
        readable(spec.formula),
    )
    if not isinstance(outcome, MetricResult):
        return Metric(*common, skipped=text(outcome.reason))
    value, unit, interval, null = outcome.value, spec.unit, outcome.interval, outcome.null
    interval_words = null_name = null_words = ""
    if interval is not None:
        interval_words = f"{100 * interval.level:g}% interval from {interval.n:,} × {interval.method}"
    if null is not None:
        z = z_score(outcome)
        null_name = null.name
        null_words = f"{null.name}, {null.n:,} draws" + ("" if z is None else f"; z = {z:,.1f}")
    return Metric(
        *common,
        value=number(value, unit) + ("%" if unit in ("share", "%") else ""),
        unit="" if unit in ("share", "%") else unit,
        exact=exact(value),
        interval=interval_text(interval, unit, value),
        interval_words=interval_words,
        null=null_text(null, unit, value),
        null_name=null_name,
        null_words=null_words,
        strip=svg.strip(spec, outcome),
        note=None if outcome.note is None else text(outcome.note).replace("`", ""),
        parameters=tuple(flat(outcome.parameters)),
        table=grid(outcome.table) if outcome.table else None,
    )


def families(report: Report) -> list[tuple[str, list[Metric]]]:
    """The metrics by family, families in the order of their first metric."""
    order = list(dict.fromkeys(m.spec.family for m in report.measurements))
    ranked = sorted(report.measurements, key=lambda m: order.index(m.spec.family))
    grouped = groupby(ranked, key=lambda m: m.spec.family)
    return [(family, [metric(m) for m in group]) for family, group in grouped]


def not_measured(report: Report) -> list[tuple[str, list[str]]]:
    """Headline metrics that were skipped: their titles by reason."""
    reasons: dict[str, list[str]] = {}
    for measurement in report.measurements:
        if measurement.spec.headline and isinstance(measurement.outcome, Skipped):
            reasons.setdefault(text(measurement.outcome.reason), []).append(measurement.spec.title)
    return list(reasons.items())


def flat(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """A nested mapping as (dotted name, text) pairs; lists on one line."""
    if isinstance(value, Mapping):
        pairs = [flat(item, f"{prefix}.{key}" if prefix else str(key)) for key, item in value.items()]
        return [pair for group in pairs for pair in group][:MAX_ROWS]
    return [(text(prefix), words(value))]


def words(value: Any) -> str:
    """A piece of metadata as text: lists joined by commas, mappings as `name value`, nothing as a dash."""
    value = cell(value)
    if is_missing(value):
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return text(", ".join(f"{key} {words(item)}" for key, item in value.items()))
    if isinstance(value, list | tuple | set | frozenset | np.ndarray):
        shown = [words(item) for item in list(value)[:MAX_ROWS]]
        more = len(value) - len(shown)
        return text(("; " if any(isinstance(v, Mapping) for v in value) else ", ").join(shown) or "none") + (
            f" and {more:,} more" if more else ""
        )
    return text(value)
