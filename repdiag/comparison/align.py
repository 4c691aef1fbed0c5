"""The same samples in every report: by their ids, in one order, with what each report says of each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from repdiag.comparison.types import Scored
from repdiag.errors import UsageError
from repdiag.types import IntArray, Report, Table

Doubles = npt.NDArray[np.float64]

CLASSIFIERS = {
    "linear probe": "linear_probe_accuracy",
    "kNN": "knn_accuracy",
    "nearest center": "nearest_center_accuracy",
}
"""The metrics whose value for a sample is whether a classifier is right."""

COLUMNS = {
    "linear_probe_accuracy": "correct",
    "knn_accuracy": "knn_correct",
    "nearest_center_accuracy": "nearest_center_correct",
    "qscore_mean": "q_score",
}
"""Columns of report.samples that hold a metric's values by sample, for reports that were read from files."""


def scored(
    arm: str,
    seed: int | None,
    report: Report,
    *,
    training: Mapping[str, Any] | None = None,
    log: Table | None = None,
) -> Scored:
    """`report` as one run of `arm`, with what its classifiers say of every sample.

    `seed` is that of the training, None for an encoder of which there is but one (the untouched). `training` are
    facts of the run, `log` its rows per epoch.
    """
    found = {title: values_of(report, metric) for title, metric in CLASSIFIERS.items()}
    correct = {title: values for title, values in found.items() if values is not None}
    return Scored(arm, seed, report, correct, dict(training or {}), log or Table({}))


def labels_of(report: Report) -> npt.NDArray[np.object_]:
    """The class of each row of report.samples as text, None where it is not known (N,)."""
    column = report.samples.columns.get("label")
    if column is None:
        return np.full(len(report.samples), None, dtype=object)
    missing = [value is None or value == "" or value != value for value in column.tolist()]
    return np.array([None if m else str(v) for v, m in zip(column.tolist(), missing, strict=True)], object)


def values_of(report: Report, metric: str) -> Doubles | None:
    """A metric's value for each row of report.samples (N,) float64, NaN where undefined; None where it has none.

    Labeled metrics know the labeled samples alone; the other rows are NaN. Values count only if their mean is the
    metric's value: where it is not (a rank statistic, a spread), a resample of them says nothing about the metric.
    """
    result = report.value(metric)
    if result is None:
        return None
    values: Any = result.per_sample
    if values is None:
        values = report.samples.columns.get(COLUMNS.get(metric, ""))
    if values is None:
        return None
    values = np.asarray(values)
    if values.dtype == object:  # None where the label is not known
        values = np.array([np.nan if v is None else v for v in values.tolist()])
    values = values.astype(np.float64)
    rows = len(report.samples)
    if values.size != rows:
        known = np.array([label is not None for label in labels_of(report)], bool)
        if values.size != known.sum():
            return None
        everyone = np.full(rows, np.nan)
        everyone[known] = values
        values = everyone
    finite = values[np.isfinite(values)]
    if not finite.size or not np.isclose(finite.mean(), result.value, rtol=1e-6, atol=1e-9):
        return None
    return np.asarray(values, np.float64)


@dataclass(frozen=True)
class Aligned:
    """The samples that all runs have: their `ids` (N,), `labels` (N,), and `rows`: where each run has them.

    `left_out` counts those that at least one run lacks.
    """

    ids: npt.NDArray[np.str_]
    labels: npt.NDArray[np.object_]
    rows: tuple[IntArray, ...]
    left_out: int

    def __len__(self) -> int:
        return self.ids.size

    def take(self, run: int, column: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A column of the samples of run number `run`, in the common order."""
        return np.asarray(column[self.rows[run]])


def align(runs: Sequence[Scored], *, apart: bool = False) -> Aligned:
    """Find the samples that all `runs` have, sorted by id.

    Raises UsageError where there is none, or where two reports give one sample different classes. `apart`: what was
    scored on other samples may be compared as well. Then there are no common samples where they are fewer than half
    of the largest set, and a report without any label does not contradict one that has them.
    """
    every = [np.asarray(run.report.samples.columns.get("id", np.array([], np.str_)), np.str_) for run in runs]
    common = np.unique(every[0])
    union = common
    for ids in every[1:]:
        common = np.intersect1d(common, ids)
        union = np.union1d(union, ids)
    if apart and (not common.size or 2 * common.size < max(ids.size for ids in every)):
        none = np.array([], np.int64)
        empty = np.array([], np.str_), np.array([], object)
        return Aligned(*empty, (none,) * len(runs), int(union.size))
    if not common.size:
        raise UsageError(
            "The reports have no sample in common: nothing can be compared in pairs",
            do="Score all encoders on the same images",
        )
    rows = []
    for ids in every:
        order = np.argsort(ids, kind="stable")
        rows.append(order[np.searchsorted(ids[order], common)])
    known = [labels_of(run.report)[where] for run, where in zip(runs, rows, strict=True)]
    first = next((i for i, found in enumerate(known) if not apart or (found != None).any()), 0)  # noqa: E711
    labels = known[first]
    for run, others in zip(runs, known, strict=True):
        if apart and not (others != None).any():  # noqa: E711 -- by element
            continue
        differ = np.flatnonzero(labels != others)
        if differ.size:
            i = int(differ[0])
            raise UsageError(
                f"{differ.size} samples have another class in {run.arm} than in {runs[first].arm}: "
                f"{common[i]} is {labels[i] or 'unlabeled'} here and {others[i] or 'unlabeled'} there",
                do="Score all encoders on the same data, with the same labels",
            )
    return Aligned(common, labels, tuple(rows), int(union.size - common.size))
