"""What is known of each k-means cluster, side by side: clusters.csv."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from repdiag.metrics._clusters import column_means, contingency
from repdiag.metrics.augmentation import flip_rates
from repdiag.metrics.cluster_validity import category, jaccards
from repdiag.metrics.prediction_strength import split_strengths
from repdiag.metrics.silhouettes import silhouettes
from repdiag.types import DoubleArray, IntArray, Need
from repdiag.workspace import Skip, Workspace


def cluster_columns(ws: Workspace) -> dict[str, npt.NDArray[Any]]:
    """One row per k-means cluster of the first clustering: what is known of it ({} where nothing was clustered).

    `jaccard` and `category` as in `cluster_jaccard`; `silhouette` the mean over its members (of those that count).
    `prediction_strength` is that of *this* cluster: the share of pairs of its members in one half of the rows that the
    centroids of the other half keep together, mean over halves and splits (`prediction_strength` itself is about
    clusters of the halves). `flip_rate` where there are views, `majority_class` (the first of equals) and its share
    `purity` where there are labels. NaN or "" where undefined.
    """
    try:
        ws.demand(frozenset())
        k = ws.n_clusters
    except Skip:
        return {}
    labels = ws.clusterings[0].labels
    out: dict[str, npt.NDArray[Any]] = {
        "cluster": np.arange(k),
        "n": np.bincount(labels, minlength=k),
        "jaccard": _or_nan(lambda: column_means(jaccards(ws)), k),
    }
    out["category"] = np.array([category(v) for v in out["jaccard"]], dtype=np.str_)
    out["prediction_strength"] = _or_nan(lambda: column_means(split_strengths(ws)[1]), k)
    out["silhouette"] = _or_nan(lambda: _by_cluster(silhouettes(ws, "clusters"), labels, k), k)
    try:
        ws.demand(frozenset({Need.IMAGES}))
        out["flip_rate"] = _by_cluster(flip_rates(ws), labels, k)
    except Skip:
        pass
    if ws.k:
        counts = contingency(labels, ws.labels, k, ws.k)
        names = np.asarray(ws.class_names, dtype=np.str_)
        out["majority_class"] = np.where(out["n"] > 0, names[counts.argmax(1)], "")
        out["purity"] = np.divide(counts.max(1), out["n"], out=np.full(k, np.nan), where=out["n"] > 0)
    return out


def _or_nan(compute: Callable[[], DoubleArray], k: int) -> DoubleArray:
    try:
        return np.asarray(compute(), np.float64)
    except Skip:
        return np.full(k, np.nan)


def _by_cluster(values: DoubleArray, labels: IntArray, k: int) -> DoubleArray:
    known = np.isfinite(values)
    total = np.bincount(labels[known], weights=values[known], minlength=k)
    size = np.bincount(labels[known], minlength=k)
    return np.asarray(np.divide(total, size, out=np.full(k, np.nan), where=size > 0))
