"""A comparison as tables: what its CSV files hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from repdiag.comparison.types import Comparison, Difference, Scored
from repdiag.report.comparison_arms import Reading
from repdiag.report.numbers import is_missing
from repdiag.report.views import words
from repdiag.types import Table

DIFFERENCE_COLUMNS = (
    "metric", "family", "title", "unit", "direction", "subject", "against", "value", "other", "delta", "low",
    "high", "level", "method", "effect", "primary",
)  # fmt: skip
EMPTY_HEADERS = {
    "differences.csv": DIFFERENCE_COLUMNS,
    "arms.csv": ("arm", "seed"),
    "samples.csv": ("id",),
    "classes.csv": ("class", "n"),
    "curves.csv": ("arm", "seed", "epoch"),
}
"""Headings of a table without columns, so that its file is a table without rows and not an empty file."""
DESCRIPTIONS = {
    "comparison.json": "everything but the per-sample values, with full provenance",
    "differences.csv": "one row per metric and pair of arms",
    "arms.csv": "one row per arm and seed: every metric, and what training did",
    "samples.csv": "one row per image, with each arm's answers",
    "classes.csv": "one row per class",
    "curves.csv": "one row per epoch and run",
}


def comparison_tables(comparison: Comparison) -> dict[str, Table]:
    """The tables of a comparison by the name of the file that holds them."""
    return {
        "differences.csv": differences_table(comparison),
        "arms.csv": arms_table(comparison),
        "samples.csv": comparison.samples,
        "classes.csv": comparison.classes,
        "curves.csv": comparison.curves,
    }


def differences_table(comparison: Comparison) -> Table:
    """One row per difference; `delta_1`, `delta_2`, ... are those of the single seeds, in the order of seeds."""
    reading = Reading(comparison)
    rows = [_difference(d, reading.family(d.metric)) for d in comparison.differences]
    most = max((len(d.by_seed) for d in comparison.differences), default=0)
    return _table(rows, (*DIFFERENCE_COLUMNS, *(f"delta_{i + 1}" for i in range(most))) if rows else ())


def _difference(d: Difference, family: str) -> dict[str, Any]:
    row: dict[str, Any] = {
        "metric": d.metric,
        "family": family,
        "title": d.title,
        "unit": d.unit,
        "direction": d.direction.value,
        "subject": d.subject,
        "against": d.against,
        "value": d.value,
        "other": d.other,
        "delta": d.delta,
        "effect": d.effect.value,
        "primary": d.primary,
    }
    if d.interval is not None:
        row |= {"low": d.interval.low, "high": d.interval.high}
        row |= {"level": d.interval.level, "method": d.interval.method}
    return row | {f"delta_{i + 1}": delta for i, delta in enumerate(d.by_seed)}


def arms_table(comparison: Comparison) -> Table:
    """One row per arm and seed. Training facts are `training.NAME`, metrics have their own names; empty: skipped."""
    rows = [_arm(one) for one in comparison.arms]
    return _table(rows, tuple(dict.fromkeys(name for row in rows for name in row)))


def _arm(one: Scored) -> dict[str, Any]:
    facts = {f"training.{name}": fact for name, fact in flat_facts(one.training)}
    values: dict[str, Any] = {}
    for m in one.report.measurements:
        result = one.report.value(m.spec.name)
        values[m.spec.name] = np.nan if result is None else result.value
    encoder = one.report.encoder
    named = {
        f"encoder.{key}": encoder[key] for key in ("name", "fingerprint") if encoder.get(key) is not None
    }
    return {"arm": one.arm, "seed": one.seed, **named, **facts, **values}


def flat_facts(facts: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """A nested mapping as (dotted name, plain value) pairs; lists are written as text."""
    pairs: list[tuple[str, Any]] = []
    for key, value in facts.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            pairs += flat_facts(value, f"{name}.")
        elif isinstance(value, list | tuple | set | frozenset | np.ndarray):
            pairs.append((name, words(value)))
        else:
            pairs.append((name, value))
    return pairs


def _table(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Table:
    return Table({name: _column([row.get(name) for row in rows]) for name in names})


def _column(values: list[Any]) -> np.ndarray[Any, Any]:
    """Numbers as float64 or int64 (int only where none is missing), everything else as text or as it is."""
    known = [value for value in values if not is_missing(value)]
    if known and all(
        isinstance(v, int | float | np.number) and not isinstance(v, bool | np.bool_) for v in known
    ):
        if all(isinstance(v, int | np.integer) for v in known):
            return np.array([None if is_missing(v) else int(v) for v in values], dtype=object)
        return np.array([np.nan if is_missing(v) else v for v in values], dtype=np.float64)
    if known and all(isinstance(v, bool | np.bool_) for v in known):
        return np.array(values, dtype=object)
    return np.array([None if is_missing(v) else str(v) for v in values], dtype=object)
