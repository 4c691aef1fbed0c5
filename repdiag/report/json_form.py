"""A report as JSON: strict (no NaN), versioned, the same for equal runs but for `created` and `timing`."""

from __future__ import annotations

import enum
import json
import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from pathlib import PurePath
from typing import Any

import numpy as np

from repdiag.report.columns import EMPTY_HEADERS, cell
from repdiag.report.json_exhibits import exhibits_json
from repdiag.report.numbers import z_score
from repdiag.report.tables import TableFile, metrics_table, write_csv
from repdiag.report.text import clean
from repdiag.types import SCHEMA_VERSION, Measurement, MetricResult, MetricSpec, Report, Table, Verdict


def csv_tables(report: Report) -> dict[str, Table]:
    """The tables of a report by the name of the file that holds them.

    kept_features.csv, what `repdiag export --features` takes, is there only where a subset was chosen.
    """
    kept = report.features.columns.get("kept")
    chosen = {} if kept is None else {"feature": report.features.columns["feature"][kept.astype(bool)]}
    return {
        "metrics.csv": metrics_table(report.measurements),
        "classes.csv": report.classes,
        "pairs.csv": report.pairs,
        "clusters.csv": report.clusters,
        "features.csv": report.features,
        **({"kept_features.csv": Table(chosen)} if chosen else {}),
        "samples.csv": report.samples,
    }


def to_json(report: Report, tables: Mapping[str, TableFile] | None = None) -> dict[str, Any]:
    """`report` as what `json.dumps` takes, in a fixed order of keys; the form is in schema.json.

    `tables` says what the CSV files hold when they were just written; otherwise they are made once more
    only to be counted and hashed. Per-sample values are in samples.csv alone, pictures in the page alone. Raises
    TypeError when the report holds something that JSON has no form for.
    """
    if tables is None:
        tables = {
            name: write_csv(table, None, EMPTY_HEADERS.get(name, ()))
            for name, table in csv_tables(report).items()
        }
    return {
        "schema_version": SCHEMA_VERSION,
        "created": report.created,
        "encoder": plain(report.encoder),
        "dataset": plain(report.dataset),
        "config": plain(report.config),
        "environment": plain(report.environment),
        "warnings": plain(report.warnings),
        "verdicts": [_verdict(verdict) for verdict in report.verdicts],
        "risk": plain(report.risk),
        **exhibits_json(report.exhibits, plain),
        "measurements": [_measurement(m, _class_names(report)) for m in report.measurements],
        "tables": {name: {"rows": t.rows, "sha256": t.sha256} for name, t in tables.items()},
        "timing": {
            "steps": plain(report.timing),
            "metrics": {m.spec.name: m.seconds for m in report.measurements},
        },
    }


def dumps(document: Mapping[str, Any]) -> str:
    """The text of report.json."""
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def plain(value: Any) -> Any:
    """`value` in JSON's own types: NaN and infinities become null, NumPy's, paths and sets plain ones."""
    value = cell(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return clean(str(value))
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if isinstance(value, PurePath):
        return clean(str(value))
    if isinstance(value, Mapping):
        return {clean(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return [plain(item) for item in value]
    if isinstance(value, AbstractSet):
        return sorted((plain(item) for item in value), key=str)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    raise TypeError(f"JSON has no form for {type(value).__name__}: {value!r}")


def _class_names(report: Report) -> tuple[str, ...]:
    return tuple(clean(str(name)) for name in report.classes.columns.get("class", ()))


def _spec(spec: MetricSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "family": spec.family,
        "title": spec.title,
        "meaning": spec.meaning,
        "formula": spec.formula,
        "source": spec.source,
        "status": spec.status.value,
        "direction": spec.direction.value,
        "low": plain(spec.low),
        "high": plain(spec.high),
        "unit": spec.unit,
        "needs": plain({need.value for need in spec.needs}),
        "laws": plain({law.value for law in spec.laws}),
        "cost": spec.cost,
        "headline": spec.headline,
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "family": verdict.family,
        "level": verdict.level.value,
        "reason": clean(verdict.reason),
        "findings": [
            {"rule": f.rule, "level": f.level.value, "reason": clean(f.reason)} for f in verdict.findings
        ],
    }


def _measurement(measurement: Measurement, class_names: tuple[str, ...]) -> dict[str, Any]:
    outcome = measurement.outcome
    return {
        **_spec(measurement.spec),
        "by_size": [
            {"samples": plain(p.samples), "value": plain(p.value), "parts": plain(p.parts)}
            for p in measurement.by_size
        ],
        "outcome": _result(measurement.spec.name, outcome, class_names)
        if isinstance(outcome, MetricResult)
        else {"skipped": clean(outcome.reason)},
    }


def _result(name: str, result: MetricResult, class_names: tuple[str, ...]) -> dict[str, Any]:
    interval, null, per_class = result.interval, result.null, None
    if result.per_class is not None:
        if len(result.per_class) != len(class_names):
            raise ValueError(f"{name}: {len(result.per_class)} values for {len(class_names)} classes")
        per_class = dict(zip(class_names, plain(result.per_class), strict=True))
    return {
        "value": plain(result.value),
        "interval": None
        if interval is None
        else {
            "low": plain(interval.low),
            "high": plain(interval.high),
            "method": interval.method,
            "n": plain(interval.n),
            "level": plain(interval.level),
        },
        "null": None
        if null is None
        else {
            "name": null.name,
            "mean": plain(null.mean),
            "std": plain(null.std),
            "n": plain(null.n),
            "z": plain(z_score(result)),
        },
        "per_class": per_class,
        "table": plain(result.table),
        "parameters": plain(result.parameters),
        "note": plain(result.note),
    }
