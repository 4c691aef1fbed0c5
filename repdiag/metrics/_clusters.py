"""What the clustering metrics share: declarations, agreement of two labelings, how much work is sane."""

from __future__ import annotations

import numpy as np

from repdiag.kernels import kmeans
from repdiag.types import Direction, DoubleArray, FloatArray, IntArray, Law, MetricSpec, Status
from repdiag.workspace import Workspace

PERMUTATION = frozenset({Law.PERMUTATION})
"""Distances do not change under rotation or scale, but rounding moves k-means' ties: only order is promised."""

CAP = 20_000
"""Rows that a repeated k-means (a bootstrap, a split, another k) takes at most."""

WORK = 1e9
"""Rows * features * clusters of one k-means up to which all replicates are made; beyond, fewer in proportion."""


def spec(
    name: str, title: str, meaning: str, formula: str, source: str, cost: str, **more: object
) -> MetricSpec:
    """A MetricSpec of the family, with what most of them share filled in."""
    settings: dict[str, object] = {
        "status": Status.OURS,
        "direction": Direction.HIGHER,
        "low": -0.5,
        "high": 1,
        "unit": "",
        "needs": frozenset(),
        "laws": PERMUTATION,
        "headline": False,
    } | more
    return MetricSpec(name, "stability", title, meaning, formula, source, cost=cost, **settings)  # type: ignore[arg-type]


def ari(a: IntArray, b: IntArray) -> float:
    """Adjusted Rand index of two labelings, in [-0.5, 1]."""
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(a, b))


def contingency(a: IntArray, b: IntArray, rows: int, columns: int) -> IntArray:
    """How many samples have label i in `a` (N,) and j in `b` (N,): (rows, columns) int64."""
    return np.asarray(np.bincount(a * columns + b, minlength=rows * columns).reshape(rows, columns))


def replicates(n: int, dim: int, k: int, most: int, least: int = 2) -> int:
    """How many k-means of `n` rows of `dim` features into `k` clusters to make: `most`, or fewer when each is long."""
    return max(least, min(most, int(most * WORK / max(1, n * dim * k))))


def some_rows(ws: Workspace, purpose: int) -> IntArray:
    """All evaluated rows, or CAP of them drawn at random (in order)."""
    if len(ws) <= CAP:
        return np.arange(len(ws))
    return np.sort(ws.rng(purpose).choice(len(ws), CAP, replace=False))


def cluster_into(ws: Workspace, x: FloatArray, k: int, seed: int) -> kmeans.Clustering:
    """k-means of any rows into any number of clusters, on the workspace's device."""
    return kmeans.kmeans(x, k, seed, device=ws.device)


def z_score(value: float, mean: float, std: float) -> float | None:
    """(value - mean) / std; None when the draws of the null do not differ."""
    return (value - mean) / std if std > 0 else None


def column_means(values: DoubleArray) -> DoubleArray:
    """Mean of each column of `values` (R, k) over its finite entries; NaN for a column without any."""
    known = np.isfinite(values)
    total = np.where(known, values, 0).sum(0)
    return np.asarray(np.divide(total, known.sum(0), out=np.full(total.shape, np.nan), where=known.any(0)))
