"""Do clusters found without labels follow the classes, fine and coarse? (science section 3)"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from repdiag.kernels import kmeans, resample
from repdiag.metrics import Rows, metric
from repdiag.metrics._answers import PERMUTED, interval, null
from repdiag.metrics._clusters import ari, cluster_into, contingency, spec
from repdiag.types import DoubleArray, IntArray, MetricResult, Need, Status
from repdiag.workspace import Skip, Workspace

Measure = Callable[[IntArray, IntArray], float]
_LABELS = frozenset({Need.LABELS})
_COARSE = frozenset({Need.LABELS, Need.HIERARCHY})


def nmi(a: IntArray, b: IntArray) -> float:
    """Normalized mutual information (arithmetic mean) of two labelings, in [0, 1]."""
    from sklearn.metrics import normalized_mutual_info_score

    return float(normalized_mutual_info_score(a, b))


def ami(a: IntArray, b: IntArray) -> float:
    """Adjusted mutual information (arithmetic mean) of two labelings, at most 1."""
    from sklearn.metrics import adjusted_mutual_info_score

    return float(adjusted_mutual_info_score(a, b))


def matching(labels: IntArray, clusters: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """The one-to-one pairs (class, cluster) that cover most samples, and how many each pair covers."""
    from scipy.optimize import linear_sum_assignment

    table = contingency(labels, clusters, int(labels.max()) + 1, int(clusters.max()) + 1)
    rows, columns = linear_sum_assignment(table, maximize=True)
    return rows, columns, table[rows, columns]


def hungarian(labels: IntArray, clusters: IntArray) -> float:
    """Share of samples whose cluster is the one matched to their class, under the best one-to-one matching."""
    return float(matching(labels, clusters)[2].sum() / labels.size)


def _against(
    ws: Workspace, labels: IntArray, clusterings: Sequence[kmeans.Clustering], k: int, measure: Measure
) -> MetricResult:
    values = np.array([measure(labels, c.labels) for c in clusterings])
    several = values.size > 1
    return MetricResult(
        float(values.mean()),
        interval(resample.mean_interval(values), "t over k-means seeds", values.size) if several else None,
        null(PERMUTED, (measure(labels[p], clusterings[0].labels) for p in ws.permuted)),
        parameters={"k": k, "seeds": values.size},
        note="The interval covers seed noise, not the choice of samples."
        if several
        else "No interval: one k-means seed.",
    )


def _fine(ws: Workspace, measure: Measure) -> MetricResult:
    return _against(ws, ws.labels, ws.clusterings, ws.n_clusters, measure)


def _coarse(ws: Workspace, measure: Measure) -> MetricResult:
    k = np.unique(ws.coarse_labels).size
    if k < 2:
        raise Skip("all evaluated samples are of one coarse class")
    if len(ws) < 2 * k:
        raise Skip(f"{len(ws)} samples are too few for {k} coarse classes")

    def compute() -> tuple[kmeans.Clustering, ...]:
        if k == ws.n_clusters:
            return ws.clusterings
        first = ws.config.seed * 1000
        return tuple(cluster_into(ws, ws.space, k, first + s) for s in range(ws.config.kmeans_seeds))

    return _against(ws, ws.coarse_labels, ws.once("coarse clusterings", compute), k, measure)


@metric(
    spec(
        "label_ari",
        "Clusters against classes: ARI",
        "high: clusters found without labels are the classes",
        "adjusted Rand index of k-means clusters and labels, mean over seeds",
        "Hubert & Arabie 1985; used by Weng et al. 2025, arXiv 2501.18452",
        "O(N) after k-means",
        status=Status.PUBLISHED,
        needs=_LABELS,
    ),
    rows=Rows.GIVEN,
)
def label_ari(ws: Workspace) -> MetricResult:
    """ARI of k-means clusters (k = K unless set) against labels, in [-0.5, 1], 0 expected by chance."""
    return _fine(ws, ari)


@metric(
    spec(
        "label_nmi",
        "Clusters against classes: NMI",
        "high: knowing the cluster tells the class",
        "normalized mutual information (arithmetic mean), mean over seeds",
        "Strehl & Ghosh 2002",
        "O(N) after k-means",
        status=Status.PUBLISHED,
        needs=_LABELS,
        low=0,
    ),
    rows=Rows.GIVEN,
)
def label_nmi(ws: Workspace) -> MetricResult:
    """NMI of clusters against labels, in [0, 1]. Not corrected for chance: grows with k, see the null."""
    return _fine(ws, nmi)


@metric(
    spec(
        "label_ami",
        "Clusters against classes: AMI",
        "high: knowing the cluster tells the class, beyond chance",
        "adjusted mutual information (arithmetic mean), mean over seeds",
        "Vinh, Epps & Bailey 2010",
        "O(N + k K max cluster) after k-means",
        status=Status.PUBLISHED,
        needs=_LABELS,
        low=-1,
    ),
    rows=Rows.GIVEN,
)
def label_ami(ws: Workspace) -> MetricResult:
    """AMI of clusters against labels, at most 1, 0 expected by chance."""
    return _fine(ws, ami)


@metric(
    spec(
        "hungarian_accuracy",
        "Clusters against classes: matched accuracy",
        "high: each class is one cluster",
        "1/N max over one-to-one matchings m of sum_i 1[m(c(x_i)) = y_i], mean over seeds",
        "Kuhn 1955 (matching); its use as clustering accuracy is common practice",
        "O(N + max(k, K)^3) after k-means",
        status=Status.PUBLISHED,
        needs=_LABELS,
        low=0,
        unit="share",
    ),
    rows=Rows.GIVEN,
)
def hungarian_accuracy(ws: Workspace) -> MetricResult:
    """High: each class is a cluster of its own.

    Clusters c(x_i) of k-means are matched one to one to classes y_i so that most samples agree (Hungarian algorithm
    on the (K, k) table of counts); the value is the share that agrees, mean over k-means seeds. In [0, 1], a share,
    higher is better. Where k and K differ, clusters or classes left without a partner count as wrong. `per_class` is
    the share of each class in its matched cluster, first seed (NaN for an absent class, 0 for one without partner).

    A published measure, first paper not re-read. Not corrected for chance: the matching picks the best of many, so
    the null (labels permuted, matched anew) lies above 1/K, and with unbalanced classes near the largest share. The
    interval covers the seeds, not the choice of samples. Order of samples only. Example: classes aabb in clusters
    1,1,1,2: a-1, b-2 agree on three of four: 0.75.
    """
    rows, _, hits = matching(ws.labels, ws.clusterings[0].labels)
    size = np.bincount(ws.labels, minlength=ws.k).astype(np.float64)
    hit = np.zeros(ws.k)
    hit[rows] = hits
    found: DoubleArray = np.divide(hit, size, out=np.full(ws.k, np.nan), where=size > 0)
    return replace(_fine(ws, hungarian), per_class=found)


@metric(
    spec(
        "coarse_ari",
        "Clusters against coarse classes: ARI",
        "high: few clusters found without labels are the coarse classes",
        "adjusted Rand index of k-means clusters (k = coarse classes) and coarse labels, mean over seeds",
        "Hubert & Arabie 1985; the coarse level is ours",
        "O(seeds * iterations * NDk)",
        needs=_COARSE,
    ),
    rows=Rows.GIVEN,
)
def coarse_ari(ws: Workspace) -> MetricResult:
    """High: clustered into as many clusters as there are coarse classes, the rows fall into those classes.

    Mean over k-means seeds of ARI(coarse labels, clusters), k = coarse classes that occur (--clusters does not change
    it). In [-0.5, 1], 0 by chance, higher is better. ARI as published, its use at the coarse level ours. With
    `label_ari` it tells what an encoder groups by: high here and low there, it sees kinds but not the classes within.
    The interval covers the seeds; null: labels permuted. Skipped without a hierarchy, with one coarse class, or for
    N < 2k. Order of samples only. Example: clusters that are exactly the coarse classes: 1.
    """
    return _coarse(ws, ari)


@metric(
    spec(
        "coarse_ami",
        "Clusters against coarse classes: AMI",
        "high: knowing which of few clusters tells the coarse class, beyond chance",
        "adjusted mutual information (arithmetic mean) with coarse labels, k = coarse classes, mean over seeds",
        "Vinh, Epps & Bailey 2010; the coarse level is ours",
        "O(N + k K max cluster) after coarse_ari",
        needs=_COARSE,
        low=-1,
    ),
    rows=Rows.GIVEN,
)
def coarse_ami(ws: Workspace) -> MetricResult:
    """High: the cluster tells the coarse class, beyond chance.

    As `coarse_ari`, with adjusted mutual information (arithmetic mean) for the agreement; at most 1, 0 by chance,
    higher is better. AMI weighs small coarse classes more than ARI does, which counts pairs. Example: clusters that
    are exactly the coarse classes: 1.
    """
    return _coarse(ws, ami)


@metric(
    spec(
        "coarse_hungarian_accuracy",
        "Clusters against coarse classes: matched accuracy",
        "high: each coarse class is one cluster",
        "as hungarian_accuracy with coarse labels, k = coarse classes, mean over seeds",
        "Kuhn 1955 (matching); the coarse level is ours",
        "O(N + k^3) after coarse_ari",
        needs=_COARSE,
        low=0,
        unit="share",
    ),
    rows=Rows.GIVEN,
)
def coarse_hungarian_accuracy(ws: Workspace) -> MetricResult:
    """High: each coarse class is a cluster of its own.

    `hungarian_accuracy` with the coarse labels and as many clusters as coarse classes. In [0, 1], a share, higher is
    better; not corrected for chance, so read it against the null (coarse labels permuted, matched anew), which lies
    at the largest coarse class's share where classes are unbalanced. Example: coarse classes aabb, clusters 1,1,1,2:
    0.75.
    """
    return _coarse(ws, hungarian)
