"""Encoders side by side as JSON: strict (no NaN), versioned, the same for equal inputs but for `created`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from repdiag.comparison.side_by_side import Crowding, Fall, Likeness, SideBySide, Trajectory
from repdiag.comparison.types import Comparison, Difference
from repdiag.comparison.words import ENCODER_EFFECTS
from repdiag.report.comparison_arms import Reading
from repdiag.report.comparison_json import interval_form, measurement_form, spec_form
from repdiag.report.json_form import plain
from repdiag.report.side_by_side_tables import EMPTY_HEADERS, crowding_row, side_by_side_tables
from repdiag.report.tables import TableFile, write_csv
from repdiag.report.text import clean

COMPARE_SCHEMA_VERSION = 1


def to_json(made: SideBySide, tables: Mapping[str, TableFile] | None = None) -> dict[str, Any]:
    """`made` as what `json.dumps` takes, in a fixed order of keys; the form is in side_by_side_schema.json.

    `tables` says what the CSV files hold when they were just written; otherwise they are made once more only to be
    counted and hashed. Values by image are in samples.csv alone, all pairs of classes in pairs.csv.
    """
    if tables is None:
        found = side_by_side_tables(made).items()
        tables = {name: write_csv(table, None, EMPTY_HEADERS[name]) for name, table in found}
    whole = made.comparison
    return {
        "schema_version": COMPARE_SCHEMA_VERSION,
        "created": whole.created,
        "against": clean(whole.against),
        "primary": Reading(whole).primary,
        "verdicts": [_verdict(one) for one in made.details],
        "config": plain(whole.config),
        "dataset": plain(whole.arms[0].report.dataset),
        "warnings": plain(whole.warnings),
        "skipped": plain(whole.skipped),
        "metrics": {name: spec_form(spec) for name, spec in Reading(whole).specs.items()},
        "encoders": [
            {
                "name": clean(run.arm),
                "report": plain(made.reports.get(run.arm)),
                "encoder": plain(run.report.encoder),
                "measurements": {m.spec.name: measurement_form(m) for m in run.report.measurements},
            }
            for run in whole.arms
        ],
        "differences": [_difference(d) for d in whole.differences],
        "likeness": {
            "pairs": [_likeness(one) for one in made.likeness],
            "about": clean(made.likeness_about),
            "skipped": clean(made.likeness_missing) or None,
        },
        "crowding": {
            "measures": [_crowding(one) for one in made.crowding],
            "notes": plain(made.crowding_notes),
        },
        "trajectory": None if made.trajectory is None else _trajectory(made.trajectory),
        "tables": {name: {"rows": t.rows, "sha256": t.sha256} for name, t in tables.items()},
    }


def changed_counts(one: Comparison) -> dict[str, int] | None:
    """How many samples turned right and wrong, None without labels."""
    columns = one.samples.columns
    names = {kind: f"newly_{kind}:{one.against}" for kind in ("right", "wrong")}
    if not all(name in columns for name in names.values()):
        return None
    return {kind: int(columns[name].astype(bool).sum()) for kind, name in names.items()}


def _verdict(one: Comparison) -> dict[str, Any]:
    counts = changed_counts(one) or {}
    return {
        "encoder": clean(one.subject),
        "effect": ENCODER_EFFECTS[one.effect],
        "reason": clean(one.reason),
        "newly_right": counts.get("right"),
        "newly_wrong": counts.get("wrong"),
    }


def _difference(d: Difference) -> dict[str, Any]:
    return {
        "metric": d.metric,
        "encoder": clean(d.subject),
        "against": clean(d.against),
        "value": plain(d.value),
        "other": plain(d.other),
        "delta": plain(d.delta),
        "interval": interval_form(d.interval),
        "effect": ENCODER_EFFECTS[d.effect],
        "primary": d.primary,
    }


def _likeness(one: Likeness) -> dict[str, Any]:
    return {
        "encoder": clean(one.encoder),
        "against": clean(one.against),
        "samples": one.n,
        "cka": plain(one.cka),
        "cka_interval": interval_form(one.cka_interval),
        "neighbors": plain(one.neighbors),
        "neighbors_interval": interval_form(one.neighbors_interval),
        "k": one.k,
        "chance": plain(one.chance),
    }


def _crowding(one: Crowding) -> dict[str, Any]:
    row = crowding_row(one)
    return {name: plain(value) for name, value in row.items() if name not in ("title", "direction")}


def _trajectory(one: Trajectory) -> dict[str, Any]:
    ranks = one.ranks.columns
    return {
        "encoders": plain(one.encoders),
        "epochs": plain(one.epochs),
        "numbered": one.numbered,
        "ranks": {name: plain(column.tolist()) for name, column in ranks.items() if name.endswith("rank") or
                  name.startswith("rank_")},
        "best": [
            {
                "rule": best.rule,
                "title": best.title,
                "encoder": clean(best.encoder),
                "epoch": plain(best.epoch),
                "as_good": plain(best.as_good),
            }
            for best in one.best
        ],
        "followed": plain(one.followed),
        "falls": [_fall(fall) for fall in one.falls],
    }  # fmt: skip


def _fall(fall: Fall) -> dict[str, Any]:
    return {
        "metric": fall.difference.metric,
        "best": plain(fall.best),
        "epoch": plain(fall.epoch),
        "back": plain(fall.back),
        "delta": plain(fall.difference.delta),
        "interval": interval_form(fall.difference.interval),
    }
