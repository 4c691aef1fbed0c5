"""How metrics put an interval and a null beside a value; shared by the families."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from repdiag.kernels import resample
from repdiag.kernels.rows import Doubles
from repdiag.types import Interval, MetricResult, Null
from repdiag.workspace import Skip, Workspace

PERMUTED = "labels permuted"
GAUSSIAN = "Gaussian of equal mean and covariance"


def interval(ends: tuple[float, float] | None, method: str, n: int) -> Interval | None:
    """An Interval from its ends; None stays None."""
    return None if ends is None else Interval(ends[0], ends[1], method, n)


def null(name: str, draws: Iterable[float]) -> Null | None:
    """A Null from draws; None when no draw is finite."""
    values = np.array([d for d in draws if np.isfinite(d)])
    return Null(name, *resample.summary(values), values.size) if values.size else None


def sample_mean(
    ws: Workspace,
    values: Doubles,
    *,
    null_draws: Iterable[float] = (),
    null_name: str = PERMUTED,
    per_class: bool = False,
    parameters: Mapping[str, Any] | None = None,
    note: str | None = None,
) -> MetricResult:
    """The mean of per-sample `values` (N,), NaN left out, with a percentile bootstrap interval."""
    known = np.isfinite(values)
    if not known.any():
        raise Skip("undefined for every sample")
    means = resample.weighted_means(values, ws.draws)
    return MetricResult(
        float(values[known].mean()),
        interval(resample.percentile_interval(means), "bootstrap over samples", len(ws.draws)),
        null(null_name, null_draws),
        per_class=class_means(ws, values) if per_class and ws.labeled else None,
        per_sample=values,
        parameters=parameters or {},
        note=note,
    )


def class_means(ws: Workspace, values: Doubles) -> Doubles:
    """Mean of `values` (N,) within each class (K,), NaN left out; NaN for a class without any."""
    known = np.isfinite(values)
    total = np.bincount(ws.labels[known], weights=values[known], minlength=ws.k)
    size = np.bincount(ws.labels[known], minlength=ws.k)
    return np.asarray(np.divide(total, size, out=np.full(ws.k, np.nan), where=size > 0))


def defined(value: float, reason: str) -> float:
    """`value` when it is finite; Skip with `reason` otherwise."""
    if not np.isfinite(value):
        raise Skip(reason)
    return value


def known_mean(values: Doubles) -> float:
    """Mean of the finite entries; NaN when there is none."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


def singletons(ws: Workspace) -> str | None:
    """A note about classes with fewer than two evaluated samples, or None."""
    counts = np.bincount(ws.labels, minlength=ws.k)
    small = int((counts == 1).sum())
    absent = int((counts == 0).sum())
    parts = [f"{small} with a single sample"] * bool(small) + [f"{absent} without any"] * bool(absent)
    return f"Left out: classes {' and '.join(parts)}." if parts else None
