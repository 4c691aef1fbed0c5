"""What the columns of the per-sample, per-class and per-feature tables are called and measured in."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from repdiag.types import Table


class Column(NamedTuple):
    """A column's heading and unit."""

    title: str
    unit: str = ""


CLASS_COLUMNS = {
    "class": Column("Class"),
    "n": Column("Samples", "samples"),
    "accuracy": Column("Accuracy", "share"),
    "most_confused_with": Column("Most seen as"),
    "intra_class_variance": Column("Variance inside"),
    "nearest_class": Column("Nearest class"),
    "nearest_distance": Column("Distance to it"),
    "nearest_center_error": Column("Nearer to another center", "share"),
    "knn_purity": Column("kNN purity", "share"),
    "mean_q_score": Column("Mean Q\u2011Score"),
    "mean_risk": Column("Mean risk"),
}
"""Columns of classes.csv. A column that is not listed is shown under its own name."""

EMPTY_HEADERS = {
    "classes.csv": tuple(CLASS_COLUMNS),
    "features.csv": ("feature", "activation_frequency", "in_s"),
    "samples.csv": ("id", "path"),
}
"""Headings of a table that has no columns, so that its file is a table without rows and not an empty file."""


def column_of(name: str) -> Column:
    """Heading and unit of a per-class column."""
    return CLASS_COLUMNS.get(name) or Column(name.replace("_", " ").capitalize())


def numeric(table: Table, name: str) -> npt.NDArray[np.float64] | None:
    """A column as float64 (NaN where missing), or None when the table does not have it."""
    values = table.columns.get(name)
    return None if values is None else np.asarray(values, dtype=np.float64)


def cell(value: Any) -> Any:
    """A table's cell as a plain Python value; NumPy scalars keep their shortest form (float32 0.1 is 0.1)."""
    if isinstance(value, np.float32):
        return float(str(value))
    return value.item() if isinstance(value, np.generic) else value
