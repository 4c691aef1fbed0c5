"""What a rule is about, found in a report: its value with bounds, or why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from repdiag.comparison.align import labels_of, values_of
from repdiag.errors import UsageError
from repdiag.gate import statistics
from repdiag.gate.statistics import Doubles, Estimate
from repdiag.gate.types import ClassValue, MetricValue, SampleQuantile, SampleShare, Subject
from repdiag.registry import did_you_mean
from repdiag.types import Direction, MetricResult, Report, Skipped

HIGHER, LOWER = Direction.HIGHER, Direction.LOWER
CLASS_DIRECTIONS: Mapping[str, Direction] = {
    "accuracy": HIGHER,
    "knn_purity": HIGHER,
    "same_class_cosine": HIGHER,
    "nearest_distance": HIGHER,
    "mean_q_score": HIGHER,
    "mean_risk": LOWER,
    "nearest_center_error": LOWER,
    "intra_class_variance": LOWER,
    "cdnv_nearest": LOWER,
    "directional_cdnv_nearest": LOWER,
}
SAMPLE_DIRECTIONS: Mapping[str, Direction] = {
    "risk": LOWER,
    "q_score": HIGHER,
    "confidence": HIGHER,
    "correct": HIGHER,
}
"""Which way is better; columns that are not listed have no better direction here."""

MEAN_OF = {"accuracy": "correct", "mean_q_score": "q_score", "mean_risk": "risk"}
"""Columns of the classes that are means of a column of the samples."""

ERRORS_OF = {"nearest_center_error": "nearest_center_correct"}
"""Metrics, and columns of the classes, that are the share of samples where a column is not 1."""

LOWEST_WHERE_MISSING = frozenset({"q_score"})
"""Scores that rank a sample without a value lowest: without a Q-Score no discriminative feature is active."""

SHARES = frozenset({"accuracy", "knn_purity", "nearest_center_error"})


@dataclass(frozen=True)
class Quantity:
    """A number of a report with its bounds. `direction` says which way is better, `unit` as in the metric's.

    `values` (N,), one for each row of the samples (NaN: not part of it), have the value as their mean: what can be
    paired with another report's. None where there are none.
    """

    title: str
    estimate: Estimate
    direction: Direction
    unit: str = ""
    values: Doubles | None = None
    note: str = ""

    @property
    def value(self) -> float:
        """The number itself; infinite for a quantile among samples without a value."""
        return self.estimate.value


@dataclass(frozen=True)
class Absent:
    """Why a report does not have the number."""

    reason: str


def find(report: Report, subject: Subject) -> Quantity | Absent:
    """What `subject` (of one class, not of all) is in `report`.

    Raises UsageError for a metric, column or class that no report could have.
    """
    if isinstance(subject, MetricValue):
        return _metric(report, subject.metric)
    if isinstance(subject, ClassValue):
        return _class(report, subject)
    if isinstance(subject, SampleQuantile):
        return _quantile(report, subject)
    return _share(report, subject)


def direction_of(subject: Subject, *reports: Report | None) -> Direction:
    """Which way is better; a share of samples above a threshold is better low where low values are better."""
    if isinstance(subject, SampleShare):
        better = SAMPLE_DIRECTIONS.get(subject.column, Direction.NEITHER)
        if better is Direction.NEITHER:
            return better
        return LOWER if (better is LOWER) == subject.above else HIGHER
    if isinstance(subject, SampleQuantile):
        return SAMPLE_DIRECTIONS.get(subject.column, Direction.NEITHER)
    name = subject.metric if isinstance(subject, MetricValue) else subject.column
    if isinstance(subject, ClassValue) and name in CLASS_DIRECTIONS:
        return CLASS_DIRECTIONS[name]
    found = (report.measurement(name) for report in reports if report is not None)
    return next((m.spec.direction for m in found if m is not None), Direction.NEITHER)


def class_names(report: Report) -> tuple[str, ...]:
    """The classes of which `report` evaluated at least one sample."""
    names = report.classes.columns.get("class", np.array([], np.str_))
    counts = report.classes.columns.get("n", np.ones(len(names)))
    return tuple(str(name) for name, n in zip(names, counts, strict=True) if n > 0)


# --------------------------------------------------------------------------------------------------- metrics


def _metric(report: Report, name: str) -> Quantity | Absent:
    measured = report.measurement(name)
    if measured is None:
        _known_metric(name, report)
        return Absent(f"the metric {name} was not measured")
    spec, outcome = measured.spec, measured.outcome
    if isinstance(outcome, Skipped):
        return Absent(f"the metric {name} was skipped: {outcome.reason}")
    values = _values(report, name, outcome.value)
    known = None if values is None else values[np.isfinite(values)]
    if known is not None and statistics.right_or_wrong(known):
        estimate = statistics.share(round(float(known.sum())), known.size)
    else:
        estimate = _own(outcome, spec.unit == "share", len(report.samples)).within(spec.low, spec.high)
    return Quantity(spec.title, estimate, spec.direction, spec.unit, values)


def _own(result: MetricResult, share: bool, n: int) -> Estimate:
    """From the metric's own interval. One without width is no evidence, but for a share of none or all of n samples."""
    ends = result.interval
    if ends is not None and ends.low < ends.high:
        return statistics.own(result.value, ends)
    if ends is not None and share and result.value in (0, 1) and n:
        return statistics.share(round(result.value) * n, n)
    return statistics.bare(result.value)


def _known_metric(name: str, report: Report) -> None:
    """Raise UsageError where neither the report nor this version knows the metric."""
    from repdiag.metrics import METRICS  # only for what is missing: it loads every metric

    known = {m.spec.name for m in METRICS} | {m.spec.name for m in report.measurements}
    if name not in known:
        raise UsageError(f"There is no metric '{name}'", do=did_you_mean(name, list(known)))


# --------------------------------------------------------------------------------------------------- classes


def _class(report: Report, subject: ClassValue) -> Quantity | Absent:
    if not len(report.classes):
        return Absent("the data set has no labels, so there are no classes")
    names = [str(name) for name in report.classes.columns["class"]]
    if subject.name not in names:
        raise UsageError(f"There is no class '{subject.name}'", do=did_you_mean(subject.name, names))
    title = f"{subject.column} of class {subject.name}"
    found = _class_column(report, subject.column)
    if isinstance(found, Absent):
        return found
    value = float(found[names.index(subject.name)])
    if not np.isfinite(value):
        return Absent(f"class {subject.name} has no {subject.column}")
    direction = direction_of(subject, report)
    spec = next((m.spec for m in report.measurements if m.spec.name == subject.column), None)
    unit = "share" if subject.column in SHARES else "" if spec is None else spec.unit
    values = _class_values(report, subject, value)
    known = None if values is None else values[np.isfinite(values)]
    estimate = statistics.bare(value) if known is None else statistics.mean(known)
    return Quantity(title, estimate, direction, unit, values)


def _class_column(report: Report, column: str) -> Doubles | Absent:
    """A column of the classes, or a metric's values by class (K,)."""
    values = report.classes.columns.get(column)
    if values is not None:
        return _numbers(values, column, "classes")
    result = report.value(column)
    if result is not None and result.per_class is not None:
        return np.asarray(result.per_class, np.float64)
    measured = report.measurement(column)
    if measured is not None:
        if isinstance(measured.outcome, Skipped):
            return Absent(f"the metric {column} was skipped: {measured.outcome.reason}")
        raise UsageError(f"The metric {column} has no values by class", do=_columns_by_class(report))
    if column in CLASS_DIRECTIONS:
        return Absent(f"the report has no {column} by class")
    known = [*report.classes.columns, *_metrics_by_class(report)]
    raise UsageError(f"The classes have no column '{column}'", do=did_you_mean(column, known))


def _metrics_by_class(report: Report) -> list[str]:
    results = ((m.spec.name, m.outcome) for m in report.measurements)
    return [name for name, o in results if isinstance(o, MetricResult) and o.per_class is not None]


def _columns_by_class(report: Report) -> str:
    named = [name for name in CLASS_DIRECTIONS if name in report.classes.columns]
    return f"Columns of the classes: {', '.join(named)}."


def _class_values(report: Report, subject: ClassValue, value: float) -> Doubles | None:
    """Values of the class's samples whose mean is `value` (N,), NaN for all others; None where there are none."""
    return _values(report, subject.column, value, labels_of(report) == subject.name)


def _values(report: Report, name: str, value: float, among: Any = None) -> Doubles | None:
    """Values by sample (N,) of a metric or of a column of the classes, of the samples `among` alone (NaN for others).

    None where there are none, or where their mean is not `value`: a resample of them would say nothing about it.
    """
    columns = report.samples.columns
    if MEAN_OF.get(name) in columns:
        values: Doubles | None = floats(columns[MEAN_OF[name]])
    else:
        values = values_of(report, name)
    if values is None and ERRORS_OF.get(name) in columns:
        values = 1 - floats(columns[ERRORS_OF[name]])
    if values is None:
        return None
    out = values if among is None else np.where(among, values, np.nan)
    known = out[np.isfinite(out)]
    return out if known.size and np.isclose(known.mean(), value, rtol=1e-6, atol=1e-9) else None


# --------------------------------------------------------------------------------------------------- samples


def _share(report: Report, subject: SampleShare) -> Quantity | Absent:
    found = _sample_column(report, subject.column)
    if isinstance(found, Absent):
        return found
    values, note = found
    hit = values > subject.threshold if subject.above else values < subject.threshold
    indicator = np.where(np.isnan(values), np.nan, hit.astype(np.float64))
    known = indicator[np.isfinite(indicator)]
    side = "above" if subject.above else "below"
    title = f"samples with {subject.column} {side} {subject.threshold:.6g}"
    estimate = statistics.share(round(float(known.sum())), known.size)
    direction = direction_of(subject)
    if subject.counted:
        return Quantity(
            f"number of {title}", estimate.times(known.size), direction, "samples", indicator, note
        )
    return Quantity(f"share of {title}", estimate, direction, "share", indicator, note)


def _quantile(report: Report, subject: SampleQuantile) -> Quantity | Absent:
    found = _sample_column(report, subject.column)
    if isinstance(found, Absent):
        return found
    values, note = found
    title = f"{100 * subject.quantile:.6g} % quantile of {subject.column}"
    estimate = statistics.quantile(values[~np.isnan(values)], subject.quantile)
    return Quantity(title, estimate, direction_of(subject), note=note)


def _sample_column(report: Report, column: str) -> tuple[Doubles, str] | Absent:
    """A column of the samples, NaN where a sample has no part in it, and what is to be said about those."""
    raw = report.samples.columns.get(column)
    if raw is None:
        if column in SAMPLE_DIRECTIONS:
            return Absent(f"the report has no {column} by sample")
        known = list(report.samples.columns)
        raise UsageError(f"The samples have no column '{column}'", do=did_you_mean(column, known))
    if column == "risk" and report.risk.get("validated") is False:
        return Absent(
            "without labels the risk is a rank, of which every report has the same number on each side"
        )
    values = _numbers(raw, column, "samples")
    missing = int(np.isnan(values).sum())
    if missing == len(values):
        return Absent(f"no sample has a {column}")
    if not missing:
        return values, ""
    if column in LOWEST_WHERE_MISSING:
        return np.where(np.isnan(values), -np.inf, values), f"{missing:,} without a {column} count as lowest"
    return values, f"{missing:,} without a {column} are left out"


def _numbers(values: Any, column: str, table: str) -> Doubles:
    try:
        return floats(values)
    except (TypeError, ValueError):
        raise UsageError(
            f"The column '{column}' of the {table} holds text, and a rule needs numbers",
            do="Name a column of numbers",
        ) from None


def floats(values: Any) -> Doubles:
    """A column as float64, NaN where nothing is known; raises ValueError or TypeError for text."""
    if values.dtype == object:  # None where nothing is known
        values = np.array([np.nan if v is None or v == "" else v for v in values.tolist()])
    if values.dtype.kind in "US":
        raise ValueError("text")
    return np.asarray(values, np.float64)
