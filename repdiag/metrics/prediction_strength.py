"""Which clusters are real: would other data put the same samples together? (science section 3)"""

from __future__ import annotations

import numpy as np

from repdiag.kernels import kmeans, resample
from repdiag.metrics import Rows, metric
from repdiag.metrics._answers import GAUSSIAN, interval, known_mean, null
from repdiag.metrics._clusters import (
    CAP,
    cluster_into,
    column_means,
    contingency,
    replicates,
    some_rows,
    spec,
)
from repdiag.metrics.stability import structureless
from repdiag.types import DoubleArray, FloatArray, IntArray, MetricResult, Status
from repdiag.workspace import Skip, Workspace


def kept_together(labels: IntArray, there: IntArray, k: int) -> DoubleArray:
    """Share of the pairs within each cluster of `labels` (n,) that `there` (n,) keeps together: (k,).

    NaN for a cluster without a pair.
    """
    shared = contingency(labels, there, k, k).astype(np.float64)
    size = shared.sum(1)
    pairs = size * (size - 1)
    kept = (shared * (shared - 1)).sum(1)
    return np.asarray(np.divide(kept, pairs, out=np.full(k, np.nan), where=pairs > 0))


def strengths(
    ws: Workspace, x: FloatArray, k: int, draws: range, given: IntArray | None = None
) -> tuple[DoubleArray, DoubleArray]:
    """Prediction strength of each test cluster, and of the clusters `given` (n,) for the same rows if any.

    Each of `draws` splits `x` (n, D) into halves and takes either for test: two arrays (2 draws, k), NaN for a
    cluster without a pair of rows in the test half.
    """
    own, of_given = (np.full((2 * len(draws), k), np.nan) for _ in range(2))
    for at, draw in enumerate(draws):
        order = ws.rng(4200 + draw).permutation(len(x))
        halves = np.sort(order[: len(x) // 2]), np.sort(order[len(x) // 2 :])
        models = [cluster_into(ws, x[half], k, 2 * draw + side) for side, half in enumerate(halves)]
        for side, test in enumerate(halves):
            there = kmeans.assign(x[test], models[1 - side].centroids, ws.device)[0]
            own[2 * at + side] = kept_together(models[side].labels, there, k)
            if given is not None:
                of_given[2 * at + side] = kept_together(given[test], there, k)
    return own, of_given


def split_strengths(ws: Workspace) -> tuple[DoubleArray, DoubleArray]:
    """Prediction strengths on the rows (at most 20,000): of the test clusters and of the first clustering's."""
    k, n = ws.n_clusters, min(len(ws), CAP)
    if n < 4 * k:
        raise Skip(f"{len(ws)} samples are too few to split in halves for {k} clusters")
    if np.unique(ws.clusterings[0].labels).size < 2:
        raise Skip("k-means found a single cluster: the rows are all alike")

    def compute() -> tuple[DoubleArray, DoubleArray]:
        some = some_rows(ws, 4002)
        draws = range(replicates(n // 2, ws.dim, k, 5, least=2))
        return strengths(ws, ws.space[some], k, draws, ws.clusterings[0].labels[some])

    return ws.once("prediction strengths", compute)


def _chance_strengths(ws: Workspace) -> list[DoubleArray]:
    def compute() -> list[DoubleArray]:
        some = some_rows(ws, 4002)
        return [
            strengths(ws, d.rows(ws)[some], ws.n_clusters, range(1000 + d.number, 1001 + d.number))[0]
            for d in structureless(ws)[:3]
        ]

    return ws.once("chance strengths", compute)


def lowest(found: DoubleArray) -> DoubleArray:
    """Least finite entry of each row of `found` (R, k); NaN for a row without any."""
    least = np.where(np.isfinite(found), found, np.inf).min(1)
    return np.where(np.isfinite(least), least, np.nan)


def _strength_result(ws: Workspace, least: bool) -> MetricResult:
    def reduce(found: DoubleArray) -> DoubleArray:
        return lowest(found) if least else column_means(found.T)

    found = reduce(split_strengths(ws)[0])
    halves = found.reshape(-1, 2)
    splits = halves[np.isfinite(halves).all(1)].mean(1)
    if splits.size < 2:
        raise Skip("too few splits leave every half a cluster with a pair of samples")
    return MetricResult(
        float(splits.mean()),
        interval(resample.mean_interval(splits), "t over splits", splits.size),
        null(GAUSSIAN, (known_mean(reduce(d)) for d in _chance_strengths(ws))),
        parameters={"k": ws.n_clusters, "splits": splits.size, "samples": min(len(ws), CAP)},
        note="The interval covers how the rows are split and the seeds.",
    )


@metric(
    spec(
        "prediction_strength",
        "Clusters that other data predict",
        "high: samples that share a cluster are also put together by centroids learned from other samples",
        "mean over test clusters A of the share of pairs in A with one nearest centroid of the training half",
        "Tibshirani & Walther 2005, with the mean in place of the minimum",
        "O(splits * iterations * min(N, 20000) Dk)",
        status=Status.ADAPTED,
        low=0,
    ),
    rows=Rows.GIVEN,
)
def prediction_strength(ws: Workspace) -> MetricResult:
    """High: samples of one cluster are also put together by centroids that other samples gave.

    The rows are split in halves, each clustered by k-means from its own seed. For a cluster A of the test half with
    n_A >= 2 rows, ps(A) = share of its n_A (n_A - 1) ordered pairs whose two rows have the same nearest centroid of the
    training half. Mean over A, over both roles of the halves, over 5 splits (fewer, at least 2, where N D k / 2
    exceeds 10^9; at most 20,000 rows). Counts and means in float64. In [0, 1], higher is better.

    Tibshirani & Walther 2005 (first paper not re-read) take the minimum over clusters: that is
    `prediction_strength_min`; with dozens of clusters the minimum is that of the one most unlucky cluster, the mean
    says more. Clusters of one row have no pair and are left out. Not corrected for chance: an elongated cloud gives far
    more than 1/k; the null is the same on Gaussian rows of equal mean and covariance (up to 3 draws, one split each).
    t interval over splits (they share rows: a little narrow). Skipped for N < 4k and where all rows fall into one
    cluster. Order of samples only. Example: test cluster of 3 rows, of which the training centroids keep two
    together: 2 of 6 ordered pairs: 1/3.
    """
    return _strength_result(ws, least=False)


@metric(
    spec(
        "prediction_strength_min",
        "Weakest cluster that other data predict",
        "high: every cluster, even the weakest, is put together by centroids learned from other samples",
        "min over test clusters A of the share of pairs in A with one nearest centroid of the training half",
        "Tibshirani & Walther 2005",
        "as prediction_strength, with which it is shared",
        status=Status.PUBLISHED,
        low=0,
    ),
    rows=Rows.GIVEN,
)
def prediction_strength_min(ws: Workspace) -> MetricResult:
    """High: even the weakest cluster is put together by centroids that other samples gave.

    The minimum over test clusters of ps(A) as in `prediction_strength`, mean over halves and splits; in [0, 1], higher
    is better. Tibshirani & Walther 2005 (first paper not re-read). Their use is to choose k (the largest with
    at least 0.8 to 0.9); with k given, and large, it is low for nearly every encoder, because one k-means start
    suffices to split one cluster: read it beside the mean and the null. Example: ps of three clusters 1, 0.9, 0.3: 0.3.
    """
    return _strength_result(ws, least=True)
