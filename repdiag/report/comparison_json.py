"""A comparison as JSON: strict (no NaN), versioned, the same for equal runs but for `created` and what took time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from repdiag.comparison.types import Comparison, Difference, Scored
from repdiag.report.comparison_arms import Reading
from repdiag.report.comparison_tables import EMPTY_HEADERS, comparison_tables
from repdiag.report.json_form import plain
from repdiag.report.tables import TableFile, write_csv
from repdiag.report.text import clean
from repdiag.types import Interval, Measurement, MetricResult, MetricSpec

COMPARISON_SCHEMA_VERSION = 1


def to_json(comparison: Comparison, tables: Mapping[str, TableFile] | None = None) -> dict[str, Any]:
    """`comparison` as what `json.dumps` takes, in a fixed order of keys; the form is in comparison_schema.json.

    `tables` says what the CSV files hold when they were just written; otherwise they are made once more only to be
    counted and hashed. Per-sample values are in samples.csv alone, the logs in curves.csv. An arm has the value and
    interval of each metric; what else its report holds is in that report. Raises TypeError when the comparison
    holds something that JSON has no form for.
    """
    if tables is None:
        made = comparison_tables(comparison).items()
        tables = {name: write_csv(table, None, EMPTY_HEADERS[name]) for name, table in made}
    reading = Reading(comparison)
    return {
        "schema_version": COMPARISON_SCHEMA_VERSION,
        "created": comparison.created,
        "verdict": {
            "subject": clean(comparison.subject),
            "against": clean(comparison.against),
            "before": None if reading.before is None else clean(reading.before),
            "primary": reading.primary,
            "effect": comparison.effect.value,
            "reason": clean(comparison.reason),
        },
        "config": plain(comparison.config),
        "dataset": plain(comparison.arms[0].report.dataset) if comparison.arms else {},
        "environment": plain(comparison.arms[0].report.environment) if comparison.arms else {},
        "warnings": plain(comparison.warnings),
        "skipped": plain(comparison.skipped),
        "metrics": {name: spec_form(spec) for name, spec in reading.specs.items()},
        "arms": [_arm(one) for one in comparison.arms],
        "differences": [_difference(d) for d in comparison.differences],
        "files": plain(comparison.files),
        "tables": {name: {"rows": t.rows, "sha256": t.sha256} for name, t in tables.items()},
    }


def spec_form(spec: MetricSpec) -> dict[str, Any]:
    """What is declared about a metric."""
    return {
        "title": spec.title,
        "family": spec.family,
        "meaning": spec.meaning,
        "source": spec.source,
        "status": spec.status.value,
        "direction": spec.direction.value,
        "unit": spec.unit,
        "headline": spec.headline,
    }


def _arm(one: Scored) -> dict[str, Any]:
    return {
        "arm": clean(one.arm),
        "seed": plain(one.seed),
        "encoder": plain(one.report.encoder),
        "training": plain(one.training),
        "warnings": plain(one.report.warnings),
        "measurements": {m.spec.name: measurement_form(m) for m in one.report.measurements},
    }


def measurement_form(measurement: Measurement) -> dict[str, Any]:
    """What one metric gave, or why it was skipped."""
    outcome = measurement.outcome
    if not isinstance(outcome, MetricResult):
        return {"skipped": clean(outcome.reason)}
    return {
        "value": plain(outcome.value),
        "interval": interval_form(outcome.interval),
        "note": plain(outcome.note),
    }


def interval_form(interval: Interval | None) -> dict[str, Any] | None:
    """All of an interval, or None where there is none."""
    if interval is None:
        return None
    return {
        "low": plain(interval.low),
        "high": plain(interval.high),
        "method": interval.method,
        "n": plain(interval.n),
        "level": plain(interval.level),
    }


def _difference(d: Difference) -> dict[str, Any]:
    return {
        "metric": d.metric,
        "title": d.title,
        "unit": d.unit,
        "direction": d.direction.value,
        "subject": clean(d.subject),
        "against": clean(d.against),
        "value": plain(d.value),
        "other": plain(d.other),
        "delta": plain(d.delta),
        "interval": interval_form(d.interval),
        "by_seed": plain(d.by_seed),
        "effect": d.effect.value,
        "primary": d.primary,
    }
