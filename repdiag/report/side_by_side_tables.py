"""Encoders side by side as tables: what the CSV files hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from repdiag.comparison.class_pairs import COLUMNS as PAIR_COLUMNS
from repdiag.comparison.side_by_side import Crowding, Likeness, SideBySide
from repdiag.comparison.types import Effect
from repdiag.comparison.words import ENCODER_EFFECTS
from repdiag.report.comparison_tables import DIFFERENCE_COLUMNS, differences_table
from repdiag.types import Interval, Table

LIKENESS_COLUMNS = (
    "encoder", "against", "n", "cka", "cka_low", "cka_high", "neighbors", "neighbors_low", "neighbors_high", "k",
    "chance",
)  # fmt: skip
CROWDING_COLUMNS = (
    "metric", "title", "direction", "encoder", "against", "value", "other", "delta", "low", "high", "word", "null",
    "null_other", "relative", "relative_other", "relative_word",
)  # fmt: skip
ENCODER_COLUMNS = ("encoder", "model", "architecture", "features", "samples", "fingerprint", "report")
VALUE_COLUMNS = ("encoder", "epoch", "metric", "value", "low", "high")
EMPTY_HEADERS = {
    "differences.csv": tuple(name for name in DIFFERENCE_COLUMNS if name != "subject"),
    "encoders.csv": ENCODER_COLUMNS,
    "samples.csv": ("id",),
    "classes.csv": ("class", "n"),
    "pairs.csv": PAIR_COLUMNS,
    "likeness.csv": LIKENESS_COLUMNS,
    "crowding.csv": CROWDING_COLUMNS,
    "trajectory.csv": VALUE_COLUMNS,
    "ranks.csv": ("encoder", "epoch", "mean_rank"),
}
"""Headings of a table without columns, so that its file is a table without rows and not an empty file."""
DESCRIPTIONS = {
    "compare.json": "everything but the values by image, with full provenance",
    "differences.csv": "one row per metric and encoder",
    "encoders.csv": "one row per encoder, with every metric",
    "samples.csv": "one row per image that all were scored on: each encoder's answers, newly right, newly wrong",
    "classes.csv": "one row per class: each encoder's accuracy and its change",
    "pairs.csv": "one row per encoder and pair of classes: do they crowd each other more?",
    "likeness.csv": "how alike the embeddings are",
    "crowding.csv": "one row per measure of crowding and encoder",
    "trajectory.csv": "one row per checkpoint and metric",
    "ranks.csv": "label-free ranks of the checkpoints",
}


def side_by_side_tables(made: SideBySide) -> dict[str, Table]:
    """The tables by the name of the file that holds them; those of a view that was not asked for are not there."""
    tables = {
        "differences.csv": _differences(made),
        "encoders.csv": _encoders(made),
        "samples.csv": made.samples,
        "classes.csv": made.classes,
        "pairs.csv": made.pairs,
    }
    if made.likeness:
        tables["likeness.csv"] = _table([_likeness(one) for one in made.likeness], LIKENESS_COLUMNS)
    if made.crowding:
        tables["crowding.csv"] = _table([crowding_row(one) for one in made.crowding], CROWDING_COLUMNS)
    if made.trajectory is not None:
        tables |= {"trajectory.csv": made.trajectory.values, "ranks.csv": made.trajectory.ranks}
    return tables


def _differences(made: SideBySide) -> Table:
    """As a comparison's differences, with the words for encoders."""
    columns = dict(differences_table(made.comparison).columns)
    if not columns:
        return Table({})
    words = {effect.value: ENCODER_EFFECTS[effect] for effect in Effect}
    columns["effect"] = np.array([words[str(value)] for value in columns["effect"]], np.str_)
    columns = {("encoder" if name == "subject" else name): column for name, column in columns.items()}
    columns.pop("delta_1", None)
    return Table(columns)


def encoder_facts(made: SideBySide, name: str) -> dict[str, Any]:
    """What identifies an encoder: its file, architecture, width, how many images it was scored on, and its report."""
    (one,) = made.comparison.of(name)
    encoder, data = one.report.encoder, one.report.dataset
    return {
        "encoder": name,
        "model": encoder.get("name"),
        "architecture": encoder.get("architecture"),
        "features": data.get("features"),
        "samples": data.get("evaluated"),
        "fingerprint": encoder.get("fingerprint"),
        "report": made.reports.get(name),
    }


def _encoders(made: SideBySide) -> Table:
    rows, metrics = [], dict[str, None]()
    for run in made.comparison.arms:
        values = {m.spec.name: run.report.value(m.spec.name) for m in run.report.measurements}
        metrics |= dict.fromkeys(values)
        row = encoder_facts(made, run.arm)
        rows.append(row | {name: np.nan if r is None else r.value for name, r in values.items()})
    return _table(rows, (*ENCODER_COLUMNS, *metrics))


def _ends(interval: Interval | None) -> tuple[float, float]:
    return (np.nan, np.nan) if interval is None else (interval.low, interval.high)


def _likeness(one: Likeness) -> dict[str, Any]:
    cka, neighbors = _ends(one.cka_interval), _ends(one.neighbors_interval)
    return {
        "encoder": one.encoder, "against": one.against, "n": one.n, "cka": one.cka, "cka_low": cka[0],
        "cka_high": cka[1], "neighbors": one.neighbors, "neighbors_low": neighbors[0], "neighbors_high": neighbors[1],
        "k": one.k, "chance": one.chance,
    }  # fmt: skip


def crowding_row(one: Crowding) -> dict[str, Any]:
    """One measure of crowding as plain values."""
    d = one.difference
    low, high = _ends(d.interval)
    return {
        "metric": d.metric, "title": d.title, "direction": d.direction.value, "encoder": d.subject,
        "against": d.against, "value": d.value, "other": d.other, "delta": d.delta, "low": low, "high": high,
        "word": one.word, "null": one.null, "null_other": one.null_other, "relative": one.relative,
        "relative_other": one.relative_other, "relative_word": one.relative_word,
    }  # fmt: skip


def _table(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Table:
    return Table({name: _column([row.get(name) for row in rows]) for name in names})


def _column(values: list[Any]) -> Any:
    """Text or numbers; what is missing is NaN among numbers and None among text."""
    known = [value for value in values if value is not None]
    if known and all(isinstance(v, int | np.integer) for v in known) and len(known) == len(values):
        return np.array(values, np.int64)
    if all(isinstance(v, int | float | np.number) for v in known):
        return np.array([np.nan if v is None else v for v in values], np.float64)
    return np.array([None if v is None else str(v) for v in values], object)
