"""What the columns of the tables are called and measured in."""

from __future__ import annotations

from collections.abc import Mapping
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
    "parent": Column("Coarse class"),
    "n": Column("Samples", "samples"),
    "accuracy": Column("Accuracy", "share"),
    "most_confused_with": Column("Most seen as"),
    "intra_class_variance": Column("Variance inside"),
    "same_class_cosine": Column("Cosine inside"),
    "nearest_class": Column("Nearest class"),
    "nearest_distance": Column("Distance to it"),
    "cdnv_nearest": Column("CDNV to it"),
    "directional_cdnv_nearest": Column("Directional CDNV to it"),
    "nearest_center_error": Column("Nearer to another center", "share"),
    "knn_purity": Column("kNN purity", "share"),
    "mean_q_score": Column("Mean Q\u2011Score"),
    "mean_risk": Column("Mean risk"),
}
"""Columns of classes.csv. A column that is not listed is shown under its own name."""

PAIR_COLUMNS = {
    "class_a": Column("A"),
    "class_b": Column("B"),
    "distance": Column("Distance of centers"),
    "cdnv": Column("CDNV"),
    "directional_cdnv": Column("Directional CDNV"),
    "nearer_ab": Column("A nearer to B", "share"),
    "nearer_ba": Column("B nearer to A", "share"),
    "confused_ab": Column("A taken for B", "share"),
    "confused_ba": Column("B taken for A", "share"),
}
"""Columns of pairs.csv."""

CLUSTER_COLUMNS = {
    "cluster": Column("Cluster"),
    "n": Column("Samples", "samples"),
    "majority_class": Column("Mostly"),
    "purity": Column("of it", "share"),
    "jaccard": Column("Comes back (Jaccard)"),
    "category": Column("Which is"),
    "prediction_strength": Column("Predicted by other data"),
    "silhouette": Column("Silhouette"),
    "flip_rate": Column("Views that leave", "share"),
}
"""Columns of clusters.csv."""

FEATURE_COLUMNS = {
    "feature": Column("Feature"),
    "activation_frequency": Column("Stands out in", "%"),
    "in_s": Column("In S"),
    "adapted_frequency": Column("Stands out in (adapted rule)", "%"),
    "in_adapted_s": Column("In S (adapted rule)"),
    "kept": Column("Kept"),
    "active_share": Column("Above zero in", "share"),
    "mean": Column("Mean"),
    "std": Column("Spread (std)"),
}
"""Columns of features.csv: `kept` is the smallest set of features that keeps the accuracy."""

EMPTY_HEADERS = {
    "classes.csv": tuple(name for name in CLASS_COLUMNS if name != "parent"),
    "features.csv": ("feature", "activation_frequency", "in_s"),
    "pairs.csv": tuple(PAIR_COLUMNS),
    "clusters.csv": tuple(CLUSTER_COLUMNS),
    "samples.csv": ("id", "path"),
}
"""Headings of a table that has no columns, so that its file is a table without rows and not an empty file."""


def column_of(name: str, known: Mapping[str, Column] = CLASS_COLUMNS) -> Column:
    """Heading and unit of a column."""
    return known.get(name) or Column(name.replace("_", " ").capitalize())


def numeric(table: Table, name: str) -> npt.NDArray[np.float64] | None:
    """A column as float64 (NaN where missing), or None when the table does not have it."""
    values = table.columns.get(name)
    return None if values is None else np.asarray(values, dtype=np.float64)


def judged(column: npt.NDArray[Any]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which samples of the column `correct` are right and which are wrong: neither, where no label tells (None)."""
    right = np.array([value is not None and bool(value) for value in column], dtype=np.bool_)
    wrong = np.array([value is not None and not value for value in column], dtype=np.bool_)
    return right, wrong


def cell(value: Any) -> Any:
    """A table's cell as a plain Python value; NumPy scalars keep their shortest form (float32 0.1 is 0.1)."""
    if isinstance(value, np.float32):
        return float(str(value))
    return value.item() if isinstance(value, np.generic) else value
