"""The CSV files of an explanation."""

from __future__ import annotations

import numpy as np

from repdiag.explaining.types import Explanation
from repdiag.types import Skipped, Table

DESCRIPTIONS = {
    "explain.json": "everything here as JSON, heat maps included",
    "samples.csv": "one row per evaluated image: features summed, and overlap with its mask",
    "quantities.csv": "means over images with intervals and nulls",
}
QUANTITIES = (
    "name", "measure", "region", "group", "features", "value", "low", "high", "n", "null_mean", "null_std", "uniform",
)  # fmt: skip


def tables(found: Explanation) -> dict[str, Table]:
    """The tables by the name of their file."""
    return {"samples.csv": found.table, "quantities.csv": quantities(found)}


def quantities(found: Explanation) -> Table:
    """One row per quantity; no rows without masks."""
    listed = () if isinstance(found.overlaps, Skipped) else found.overlaps.quantities
    rows = [
        (
            q.name, q.measure, q.region, q.group, q.features, q.value,
            np.nan if q.interval is None else q.interval.low, np.nan if q.interval is None else q.interval.high,
            q.n, np.nan if q.null is None else q.null.mean, np.nan if q.null is None else q.null.std,
            np.nan if q.uniform is None else q.uniform,
        )
        for q in listed
    ]  # fmt: skip
    columns = {}
    for place, name in enumerate(QUANTITIES):
        values = [row[place] for row in rows]
        kind = object if place < 5 else np.int64 if name == "n" else np.float64
        columns[name] = np.array(values, dtype=kind)
    return Table(columns)
