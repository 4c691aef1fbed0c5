"""The columns of a report's samples.csv that an audit reads, each in one plain type whatever the report's age."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from repdiag.errors import DataError
from repdiag.types import DoubleArray, Report

Texts = npt.NDArray[np.object_]


@dataclass(frozen=True)
class Samples:
    """Columns of N samples. Text is str or None, numbers float64 with NaN where they are missing.

    `correct`, `knn_correct` and `center_correct` are 1 where a classifier gave the label, 0 where it did not, NaN where
    that is not known.
    """

    ids: Texts
    paths: Texts
    label: Texts
    prediction: Texts
    correct: DoubleArray
    knn_correct: DoubleArray
    center_correct: DoubleArray
    confidence: DoubleArray
    risk: DoubleArray
    q_score: DoubleArray
    cluster: DoubleArray
    x: DoubleArray
    y: DoubleArray

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def judged(self) -> npt.NDArray[np.bool_]:
        """Samples whose risk is known, and whether the probe was right."""
        return np.asarray(np.isfinite(self.correct) & np.isfinite(self.risk))

    def place(self) -> dict[str, int]:
        """The row of each id."""
        return {str(name): i for i, name in enumerate(self.ids.tolist())}


def samples_of(report: Report) -> Samples:
    """The samples of `report`; DataError where there are none, or none has a risk."""
    columns = report.samples.columns
    n = len(report.samples)
    if not n or "id" not in columns:
        raise DataError(
            "The report has no samples", do="Audit a folder that `repdiag score` wrote, samples.csv included"
        )

    def number(name: str) -> DoubleArray:
        return _numbers(columns[name]) if name in columns else np.full(n, np.nan)

    def text(name: str) -> Texts:
        return _texts(columns[name]) if name in columns else np.full(n, None, dtype=object)

    ids = text("id")
    risk = number("risk")
    if not np.isfinite(risk).any():
        raise DataError(
            "The report has no risk of any sample, so there is nothing to rank by",
            do="Score again with this version: its samples.csv has a column risk where the embeddings differ at all",
        )
    return Samples(
        ids,
        text("path") if "path" in columns else ids,
        text("label"),
        text("prediction"),
        number("correct"),
        number("knn_correct"),
        number("nearest_center_correct"),
        number("confidence"),
        risk,
        number("q_score"),
        number("cluster"),
        number("umap_x"),
        number("umap_y"),
    )


def _numbers(column: npt.NDArray[Any]) -> DoubleArray:
    if column.dtype.kind in "fiub":
        return np.asarray(column, np.float64)
    return np.array([np.nan if v is None else float(v) for v in column.tolist()], np.float64)


def _texts(column: npt.NDArray[Any]) -> Texts:
    found = np.empty(len(column), dtype=object)
    found[:] = [None if v is None or v != v else str(v) for v in column.tolist()]
    return found
