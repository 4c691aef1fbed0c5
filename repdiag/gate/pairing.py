"""A report beside its baseline: which samples they share, and how a number changed between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from repdiag.comparison.align import labels_of
from repdiag.errors import UsageError
from repdiag.gate import statistics
from repdiag.gate.quantities import Absent, Quantity, find, floats
from repdiag.gate.statistics import Doubles, Estimate
from repdiag.gate.types import Subject
from repdiag.types import Report


@dataclass(frozen=True)
class Pairing:
    """A report and its baseline, and which rows of their samples are the same: `rows` of both (M,), by id.

    `paired`: at least half of either's samples are in both. `identical`: the same samples in the same order, and
    every column of numbers that both have equal to the last digit.
    """

    report: Report
    baseline: Report
    rows: tuple[Any, Any]
    paired: bool
    identical: bool

    def change(self, subject: Subject, relative: bool) -> tuple[Quantity, float, float] | Absent:
        """The (relative) change of `subject`, and its values now and before; both of the common samples if paired."""
        now, before = find(self.report, subject), find(self.baseline, subject)
        if isinstance(now, Absent):
            return now
        if isinstance(before, Absent):
            return Absent(f"in the baseline {before.reason}")
        values = self._common(now, before)
        a, b = now.value, before.value
        if values is not None:
            a, b = float(values[0].mean()), float(values[1].mean())
        if not (np.isfinite(a) and np.isfinite(b)):
            return Absent(f"{now.title} falls among samples without a value, so that its change is unknown")
        if self.identical and a == b:
            estimate = statistics.unchanged(len(self.report.samples))
        elif relative and b == 0:
            return Absent(f"{now.title} is 0 in the baseline, so that no change is relative to it")
        elif values is not None:
            estimate = (statistics.relative_change if relative else statistics.change)(*values)
        else:
            made: Callable[[Estimate, Estimate], Estimate]
            made = statistics.relative_difference if relative else statistics.difference
            estimate = made(now.estimate, before.estimate)
        return replace(now, estimate=estimate, unit="share" if relative else now.unit, values=None), a, b

    def _common(self, now: Quantity, before: Quantity) -> tuple[Doubles, Doubles] | None:
        """Finite values of the samples that both have; None where they cannot be paired."""
        if not self.paired or now.values is None or before.values is None:
            return None
        a, b = now.values[self.rows[0]], before.values[self.rows[1]]
        known = np.isfinite(a) & np.isfinite(b)
        return (a[known], b[known]) if known.any() else None


def pair(report: Report, baseline: Report) -> Pairing:
    """Find the samples that both reports have; UsageError where they give one of them different classes."""
    ids = [_ids(one) for one in (report, baseline)]
    _, *rows = np.intersect1d(*ids, return_indices=True)
    labels = [labels_of(one)[where] for one, where in zip((report, baseline), rows, strict=True)]
    differ = np.flatnonzero(labels[0] != labels[1])
    if differ.size and all((one != None).any() for one in labels):  # noqa: E711 - elementwise
        i = int(differ[0])
        raise UsageError(
            f"{differ.size:,} samples have another class than in the baseline: {ids[0][rows[0][i]]} is "
            f"{labels[0][i] or 'unlabeled'} here and {labels[1][i] or 'unlabeled'} there",
            do="Make the baseline anew from the data as they are now",
        )
    most = max(len(report.samples), len(baseline.samples), 1)
    return Pairing(
        report, baseline, (rows[0], rows[1]), 2 * rows[0].size >= most, _identical(report, baseline)
    )


def _ids(report: Report) -> Any:
    return np.asarray(report.samples.columns.get("id", np.array([], np.str_)), np.str_)


def _identical(one: Report, other: Report) -> bool:
    """Whether the reports say the same of every sample; never where they say nothing by sample.

    The places on the map are left out: they are for looking, and may be drawn in one report only.
    """
    ids = _ids(one)
    if not ids.size or not np.array_equal(ids, _ids(other)):
        return False
    told = 0
    for name in sorted(one.samples.columns.keys() & other.samples.columns.keys()):
        try:
            mine, theirs = (floats(np.asarray(r.samples.columns[name])) for r in (one, other))
        except (TypeError, ValueError):
            continue
        if name.startswith("umap"):
            continue
        told += bool(np.isfinite(mine).any())
        if not np.array_equal(mine, theirs, equal_nan=True):
            return False
    return told > 0
