"""Which clusters are real: does each come back when the data are drawn anew? (science section 3)"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from repdiag.kernels import kmeans, resample
from repdiag.metrics import Rows, metric
from repdiag.metrics._answers import GAUSSIAN, interval, known_mean, null
from repdiag.metrics._clusters import (
    CAP,
    column_means,
    contingency,
    replicates,
    spec,
)
from repdiag.metrics.stability import structureless
from repdiag.types import DoubleArray, FloatArray, IntArray, MetricResult, Row, Status
from repdiag.workspace import Skip, Workspace

CATEGORIES = ((0.85, "highly stable"), (0.75, "valid"), (0.6, "pattern"))
"""Hennig's words for a cluster of at least this mean Jaccard; at most 0.5 is "dissolved", the gap "doubtful"."""

SHOWN = 200
"""Clusters that a report's table lists at most; clusters.csv holds all."""


def category(jaccard: float) -> str:
    """Hennig's word for a cluster's mean best Jaccard; "doubtful" between 0.5 and 0.6, "" when undefined."""
    if not math.isfinite(jaccard):
        return ""
    for least, name in CATEGORIES:
        if jaccard >= least:
            return name
    return "dissolved" if jaccard <= 0.5 else "doubtful"


def best_jaccard(first: IntArray, again: IntArray, k: int) -> DoubleArray:
    """Largest Jaccard of each cluster of `first` (n,) with any of `again` (n,): (k,); NaN for an empty cluster."""
    shared = contingency(first, again, k, k)
    size = shared.sum(1)
    union = size[:, None] + shared.sum(0)[None, :] - shared
    return np.where(size > 0, (shared / np.maximum(union, 1)).max(1), np.nan)


def _bootstraps(
    ws: Workspace, x: FloatArray, first: kmeans.Clustering, draws: range
) -> npt.NDArray[np.float64]:
    """Best Jaccard of each cluster of `first` in each bootstrap of `x`: (draws, k)."""
    k = ws.n_clusters
    found = np.full((len(draws), k), np.nan)
    for at, draw in enumerate(draws):
        some = np.unique(ws.rng(4100 + draw).integers(len(x), size=min(len(x), CAP)))
        if some.size >= k:
            found[at] = best_jaccard(first.labels[some], ws.cluster(x[some], draw).labels, k)
    return found


def jaccards(ws: Workspace) -> DoubleArray:
    """Best Jaccard of each cluster of the first clustering in each bootstrap: (B, k), NaN where absent."""
    k, n = ws.n_clusters, min(len(ws), CAP)
    if 0.6 * n < 2 * k:
        raise Skip(f"{len(ws)} samples are too few to resample for {k} clusters")
    if np.unique(ws.clusterings[0].labels).size < 2:
        raise Skip("k-means found a single cluster: the rows are all alike")
    draws = replicates(n, ws.dim, k, 10, least=3)
    return ws.once("jaccards", lambda: _bootstraps(ws, ws.space, ws.clusterings[0], range(draws)))


def _chance_jaccards(ws: Workspace) -> list[float]:
    each = replicates(min(len(ws), CAP), ws.dim, 4 * ws.n_clusters, 2, least=1)
    return [
        known_mean(
            column_means(
                _bootstraps(
                    ws, d.rows(ws), d.runs[0], range(1000 + each * d.number, 1000 + each * (d.number + 1))
                )
            )
        )
        for d in structureless(ws)[:3]
    ]


@metric(
    spec(
        "cluster_jaccard",
        "Clusters that come back",
        "high: the clusters found on all data are found again on resampled data",
        "mean over clusters C of the mean over bootstraps b of max_j |C_b & C'_bj| / |C_b | C'_bj|",
        "Hennig 2007",
        "O(bootstraps * iterations * min(N, 20000) Dk)",
        status=Status.PUBLISHED,
        low=0,
    ),
    rows=Rows.GIVEN,
)
def cluster_jaccard(ws: Workspace) -> MetricResult:
    """High: the clusters found on all data are found again on resampled data.

    For each bootstrap b of the rows (repeated rows count once: some 63 % of N remain), k-means is run anew, from a
    seed of its own. C_b are the members of cluster C of the first clustering among those rows, C'_bj the new clusters;
    J_b(C) = max_j |C_b & C'_bj| / |C_b | C'_bj|. Per cluster the mean over b where C_b is not empty; the value is the
    mean over clusters, each counting alike. Counts int64, means float64. In [0, 1], higher is steadier.

    Hennig 2007 (first paper not re-read). The table gives each cluster its category, by Hennig's levels: at most 0.5
    dissolved, 0.6 to 0.75 a pattern, from 0.75 valid, from 0.85 highly stable; the gap from 0.5 to 0.6 we call
    doubtful. Above 200 clusters the table shows the 200 with the lowest value.

    The levels were meant for few clusters. With k-means from one random start and many clusters, starts that share a
    cluster or miss one dissolve good clusters; and an elongated cloud without clusters can reach 0.6: read the value
    against the null (Gaussian rows of equal mean and covariance, up to 3 draws with 1 or 2 bootstraps each). At most
    20,000 rows are drawn per bootstrap, and fewer than the 10 bootstraps are made where N D k exceeds 10^9 (see the
    parameters). t interval over bootstraps: it holds sample and seed noise of the value given this first clustering.
    Skipped for 0.6 N < 2k and where all rows fall into one cluster. Order of samples only.
    Example: C = {1,2,3,4}, new clusters {1,2,3}, {4,5}: max(3/4, 1/5) = 0.75.
    """
    found = jaccards(ws)
    each = column_means(found)
    per_draw = column_means(found.T)
    per_draw = per_draw[np.isfinite(per_draw)]
    size = np.bincount(ws.clusterings[0].labels, minlength=ws.n_clusters)
    known = np.flatnonzero(np.isfinite(each))
    if not known.size:
        raise Skip("no cluster is left in any bootstrap")
    order = known if known.size <= SHOWN else known[np.argsort(each[known], kind="stable")[:SHOWN]]
    words = [category(v) for v in each[known]]
    notes = [f"The {SHOWN} clusters that come back least are listed."] if known.size > SHOWN else []
    if per_draw.size < 2:
        notes.append("No interval: one bootstrap only.")
    table: list[Row] = [
        {
            "cluster": int(c),
            "samples": int(size[c]),
            "jaccard": float(each[c]),
            "category": category(float(each[c])),
        }
        for c in order
    ]
    return MetricResult(
        float(each[known].mean()),
        interval(resample.mean_interval(per_draw), "t over bootstraps", per_draw.size)
        if per_draw.size > 1
        else None,
        null(GAUSSIAN, _chance_jaccards(ws)),
        table=tuple(table),
        parameters={
            "k": ws.n_clusters,
            "bootstraps": len(found),
            "samples": min(len(ws), CAP),
            **{name: words.count(name) for name in dict.fromkeys(words)},
        },
        note=" ".join(notes) or None,
    )
