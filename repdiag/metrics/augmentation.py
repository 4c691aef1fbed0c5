"""Do augmented views stay in their image's cluster, and where do they leave? (science section 3)"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from repdiag.kernels import kmeans, resample
from repdiag.metrics import Rows, metric
from repdiag.metrics._answers import GAUSSIAN, class_means, interval, null, sample_mean
from repdiag.metrics._clusters import ari, spec
from repdiag.metrics.stability import Pair, structureless
from repdiag.scores import augmented_clusters
from repdiag.types import BoolArray, Direction, DoubleArray, MetricResult, Need, Row
from repdiag.workspace import Skip, Workspace

MOVED = f"{GAUSSIAN}, moved as far"


def flips(ws: Workspace) -> BoolArray:
    """Whether each view (V, M) lies in another cluster than its clean image, centroids of the first clustering."""
    _, at = ws.space_views
    clean = ws.clusterings[0].labels[at]
    return ws.once("flips", lambda: np.asarray(augmented_clusters(ws) != clean))


def flip_rates(ws: Workspace) -> DoubleArray:
    """Share of each sample's views that leave its cluster (N,); NaN for samples without views."""
    out = np.full(len(ws), np.nan)
    out[ws.space_views[1]] = flips(ws).mean(0)
    return out


def _displaced(ws: Workspace) -> list[Pair]:
    """Clusters of structureless rows before and after they are moved by the displacements of the first view."""

    def compute() -> list[Pair]:
        views, at = ws.space_views
        moves = views[0] - ws.space[at]
        found = []
        for draw in structureless(ws):
            rng, x, clusters = ws.rng(300 + draw.number), draw.rows(ws), draw.runs[0]
            some = rng.permutation(len(x))[: len(moves)]
            there, _ = kmeans.assign(
                x[some] + moves[rng.permutation(len(moves))[: some.size]], clusters.centroids, ws.device
            )
            found.append((clusters.labels[some], there))
        return found

    return ws.once("displaced", compute)


@metric(
    spec(
        "augmentation_ari",
        "Same clusters after augmentation",
        "high: an augmented image stays in its image's cluster",
        "ARI between the clusters of x and of t(x), centroids fitted once on clean images",
        "ours, after Weng et al. 2025, arXiv 2501.18452",
        "O(V MDk)",
        needs=frozenset({Need.IMAGES}),
    ),
    rows=Rows.GIVEN,
)
def augmentation_ari(ws: Workspace) -> MetricResult:
    """ARI between clean and augmented samples' clusters, mean over views, in [-0.5, 1]; 1: no view leaves.

    Centroids are those of the first k-means seed on clean rows; views are assigned to the nearest. The table
    gives the flip rate and, by quarter of the clean sample's margin, where flips happen (`flip_rate` has the
    deciles). Null: Gaussian rows moved by the very displacements t(x) - x that the views show, dealt out at random.
    """
    views, at = ws.space_views
    clean = ws.clusterings[0].labels[at]
    moved = augmented_clusters(ws)
    flipped = flips(ws).mean(0)
    quarter = np.searchsorted(np.quantile(ws.margin[at], [0.25, 0.5, 0.75]), ws.margin[at])
    table: list[Row] = [{"margin": "all", "flip_rate": float(flipped.mean()), "samples": int(flipped.size)}]
    for q in range(4):
        here = flipped[quarter == q]
        if here.size:
            table.append(
                {"margin": f"quarter {q + 1}", "flip_rate": float(here.mean()), "samples": int(here.size)}
            )
    value = float(np.mean([ari(clean, m) for m in moved]))
    rng = ws.rng(8)
    replicates = []
    for _ in range(min(100, ws.config.bootstrap)):
        some = rng.integers(at.size, size=at.size)
        replicates.append(np.mean([ari(clean[some], m[some]) for m in moved]))
    per_sample = flip_rates(ws)
    return MetricResult(
        value,
        interval(
            resample.normal_interval(value, np.array(replicates)),
            "bootstrap standard error",
            len(replicates),
        ),
        null(MOVED, (ari(a, b) for a, b in _displaced(ws))),
        per_class=class_means(ws, per_sample) if ws.labeled else None,
        per_sample=per_sample,
        table=tuple(table),
        parameters={"k": ws.n_clusters, "views": len(views), "samples": int(at.size)},
    )


@metric(
    spec(
        "flip_rate",
        "Views that leave their cluster",
        "high: augmentation moves images into other clusters",
        "share of views t(x) whose nearest centroid is not that of x, centroids fitted once on clean images",
        "ours, after Weng et al. 2025, arXiv 2501.18452",
        "O(V MDk)",
        needs=frozenset({Need.IMAGES}),
        direction=Direction.LOWER,
        low=0,
        unit="share",
    ),
    rows=Rows.GIVEN,
)
def flip_rate(ws: Workspace) -> MetricResult:
    """High: an augmented image often lies in another cluster than the image itself.

    f_i = share of the V views t(x_i) with c(t(x_i)) != c(x_i), c the nearest centroid of the first k-means seed
    on clean rows; the value is the mean of f_i over the M samples with views. float64. In [0, 1], a share, lower is
    better. Ours. `per_sample` holds f_i (NaN without views).

    The table follows the clean sample's margin (d2 - d1) / (d2 + d1) in tenths: flips belong into the lowest tenths;
    flips of samples deep inside a cluster mean that the augmentation destroys what the encoder sees. The cut points
    are quantiles of the margin, so a tenth is left out where margins tie. The rate grows with k and with the strength
    of the augmentation: compare only under the same. Bootstrap over samples; null: Gaussian rows moved by the views'
    own displacements, dealt out at random. Skipped below four samples with views and where all rows fall into one
    cluster. Order of samples only (k-means ties). Example: two views each of two images, one view in a foreign
    cluster: (0.5 + 0) / 2 = 0.25.
    """
    if np.unique(ws.clusterings[0].labels).size < 2:
        raise Skip("k-means found a single cluster: the rows are all alike")
    values = flip_rates(ws)
    at = np.flatnonzero(np.isfinite(values))
    margin, here = ws.margin[at], values[at]
    tenth = np.searchsorted(np.quantile(margin, np.arange(1, 10) / 10), margin)
    table: list[Row] = []
    for q in np.unique(tenth):
        inside = tenth == q
        table.append(
            {
                "margin_tenth": int(q) + 1,
                "margin_from": float(margin[inside].min()),
                "margin_to": float(margin[inside].max()),
                "flip_rate": float(here[inside].mean()),
                "samples": int(inside.sum()),
            }
        )
    found = sample_mean(
        ws,
        values,
        null_draws=(float((a != b).mean()) for a, b in _displaced(ws)),
        null_name=MOVED,
        per_class=True,
        parameters={"k": ws.n_clusters, "views": len(ws.space_views[0]), "samples": int(at.size)},
    )
    return replace(found, table=tuple(table))
