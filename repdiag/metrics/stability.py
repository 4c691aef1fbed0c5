"""Do clusters hold still, and do they follow the classes? (science section 3)

Stable is not correct, and one cluster too few is stable too: every number stands beside what a structureless
Gaussian of the same mean and covariance gives. k-means with one initialization per seed, on unit vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np

from repdiag.kernels import kmeans, resample
from repdiag.kernels.rows import Doubles
from repdiag.metrics import Rows, metric
from repdiag.metrics._answers import GAUSSIAN, PERMUTED, class_means, interval, null
from repdiag.scores import augmented_clusters
from repdiag.types import Direction, FloatArray, IntArray, Law, MetricResult, MetricSpec, Need, Row, Status
from repdiag.workspace import Skip, Workspace

PERMUTATION = frozenset({Law.PERMUTATION})
"""Distances do not change under rotation or scale, but rounding moves k-means' ties: only order is promised."""


def ari(a: IntArray, b: IntArray) -> float:
    """Adjusted Rand index of two labelings, in [-0.5, 1]."""
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(a, b))


def structureless(
    ws: Workspace,
) -> tuple[tuple[FloatArray, tuple[kmeans.Clustering, kmeans.Clustering]], ...]:
    """Gaussian null draws, each clustered from two seeds."""

    def compute() -> tuple[tuple[FloatArray, tuple[kmeans.Clustering, kmeans.Clustering]], ...]:
        draws = []
        for d in range(ws.config.null_draws):
            x = ws.gaussian(d)
            draws.append((x, (ws.cluster(x, 2 * d), ws.cluster(x, 2 * d + 1))))
        return tuple(draws)

    return ws.once("structureless", compute)


def _spec(
    name: str, title: str, meaning: str, formula: str, source: str, cost: str, **more: object
) -> MetricSpec:
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


@metric(
    _spec(
        "seed_ari",
        "Same clusters from another seed",
        "high: k-means finds the same clusters whatever its start",
        "mean adjusted Rand index over pairs of k-means seeds, n_init = 1",
        "von Luxburg 2010, arXiv 1007.1075; ARI: Hubert & Arabie 1985",
        "O(seeds * iterations * NDk)",
        headline=True,
    ),
    rows=Rows.GIVEN,
)
def seed_ari(ws: Workspace) -> MetricResult:
    """Mean ARI between k-means runs of different seeds on the same rows, in [-0.5, 1]; 1 is perfectly stable.

    Each run starts from k random rows. The interval is a jackknife over seeds (pairs share runs). Null: the same
    on Gaussian draws without clusters. A stable answer can be stably wrong: see `label_ari`.
    """
    runs = [c.labels for c in ws.clusterings]
    if len(runs) < 3:
        raise Skip("needs at least three k-means seeds")
    pair = {(i, j): ari(runs[i], runs[j]) for i, j in combinations(range(len(runs)), 2)}
    value = float(np.mean(list(pair.values())))
    without = np.array([np.mean([v for p, v in pair.items() if s not in p]) for s in range(len(runs))])
    return MetricResult(
        value,
        interval(resample.jackknife_interval(value, without), "jackknife over k-means seeds", len(runs)),
        null(GAUSSIAN, (ari(a.labels, b.labels) for _, (a, b) in structureless(ws))),
        parameters={"k": ws.n_clusters, "seeds": len(runs)},
    )


def _subsample_ari(ws: Workspace, x: FloatArray, draw: int, share: float = 0.8) -> float:
    rng = ws.rng(200 + draw)
    half = [np.sort(rng.choice(len(x), int(share * len(x)), replace=False)) for _ in range(2)]
    labels = []
    for s, part in enumerate(half):
        full = np.full(len(x), -1)
        full[part] = ws.cluster(x[part], 2 * draw + s).labels
        labels.append(full)
    both = (labels[0] >= 0) & (labels[1] >= 0)
    return ari(labels[0][both], labels[1][both])


@metric(
    _spec(
        "subsample_ari",
        "Same clusters from other samples",
        "high: clusters found on one random part of the data are found on another",
        "mean ARI on the intersection of two 80 % subsamples, clustered separately",
        "Ben-Hur, Elisseeff & Guyon 2002",
        "O(pairs * iterations * NDk)",
    ),
    rows=Rows.GIVEN,
)
def subsample_ari(ws: Workspace) -> MetricResult:
    """Mean ARI between clusterings of two 80 % subsamples on the samples they share, in [-0.5, 1].

    As many pairs as k-means seeds; t interval over pairs. Null: Gaussian draws, one pair each.
    """
    if int(0.8 * len(ws)) < 2 * ws.n_clusters:
        raise Skip(f"{len(ws)} samples are too few to subsample for {ws.n_clusters} clusters")
    values = np.array([_subsample_ari(ws, ws.space, d) for d in range(max(2, ws.config.kmeans_seeds))])
    return MetricResult(
        float(values.mean()),
        interval(resample.mean_interval(values), "t over pairs of subsamples", values.size),
        null(GAUSSIAN, (_subsample_ari(ws, x, 50 + d) for d, (x, _) in enumerate(structureless(ws)))),
        parameters={"k": ws.n_clusters, "share": 0.8},
    )


@metric(
    _spec(
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
    gives the flip rate and, by quarter of the clean sample's margin, where flips happen. Null: Gaussian rows
    moved by the very displacements t(x) - x that the views show, dealt out at random.
    """
    views, at = ws.space_views
    clean = ws.clusterings[0].labels[at]
    moved = augmented_clusters(ws)
    flips = (moved != clean).mean(0)
    quarter = np.searchsorted(np.quantile(ws.margin[at], [0.25, 0.5, 0.75]), ws.margin[at])
    table: list[Row] = [{"margin": "all", "flip_rate": float(flips.mean()), "samples": int(flips.size)}]
    for q in range(4):
        here = flips[quarter == q]
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
    per_sample = np.full(len(ws), np.nan)
    per_sample[at] = flips
    return MetricResult(
        value,
        interval(
            resample.normal_interval(value, np.array(replicates)),
            "bootstrap standard error",
            len(replicates),
        ),
        null(f"{GAUSSIAN}, moved as far", _displaced(ws, views[0] - ws.space[at])),
        per_class=class_means(ws, per_sample) if ws.labeled else None,
        per_sample=per_sample,
        table=tuple(table),
        parameters={"k": ws.n_clusters, "views": len(views), "samples": int(at.size)},
    )


def _displaced(ws: Workspace, moves: FloatArray) -> list[float]:
    found = []
    for d, (x, (clusters, _)) in enumerate(structureless(ws)):
        rng = ws.rng(300 + d)
        some = rng.permutation(len(x))[: len(moves)]
        there, _ = kmeans.assign(
            x[some] + moves[rng.permutation(len(moves))[: some.size]], clusters.centroids, ws.device
        )
        found.append(ari(clusters.labels[some], there))
    return found


def _against_labels(ws: Workspace, measure: Callable[[IntArray, IntArray], float]) -> MetricResult:
    values = np.array([measure(ws.labels, c.labels) for c in ws.clusterings])
    return MetricResult(
        float(values.mean()),
        interval(resample.mean_interval(values), "t over k-means seeds", values.size)
        if values.size > 1
        else None,
        null(PERMUTED, (measure(ws.labels[p], ws.clusterings[0].labels) for p in ws.permuted)),
        parameters={"k": ws.n_clusters, "seeds": values.size},
        note="The interval covers seed noise, not the choice of samples.",
    )


_LABELS = frozenset({Need.LABELS})


@metric(
    _spec(
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
    return _against_labels(ws, ari)


@metric(
    _spec(
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
    from sklearn.metrics import normalized_mutual_info_score

    return _against_labels(ws, lambda a, b: float(normalized_mutual_info_score(a, b)))


@metric(
    _spec(
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
    from sklearn.metrics import adjusted_mutual_info_score

    return _against_labels(ws, lambda a, b: float(adjusted_mutual_info_score(a, b)))


def silhouettes(ws: Workspace, source: str) -> Doubles:
    """Silhouette of each evaluated sample (N,) by clusters or labels; NaN beyond the capped sample."""

    def compute() -> Doubles:
        out = np.full(len(ws), np.nan)
        some = _silhouette_rows(ws, ws.config.silhouette_samples)
        labels = ws.labels if source == "labels" else ws.clusterings[0].labels
        out[some] = _silhouette(ws.space[some], labels[some])
        return out

    return ws.once(("silhouette", source), compute)


def _silhouette_rows(ws: Workspace, cap: int) -> IntArray:
    if len(ws) <= cap:
        return np.arange(len(ws))
    return np.sort(ws.rng(9).choice(len(ws), cap, replace=False))


def _silhouette(x: FloatArray, labels: IntArray) -> Doubles:
    from sklearn.metrics import silhouette_samples

    present = np.unique(labels).size
    if not 2 <= present < len(labels):
        raise Skip(f"silhouette needs between 2 and N - 1 clusters, found {present} in {len(labels)} samples")
    return np.asarray(silhouette_samples(x, labels), np.float64)


def _silhouette_result(ws: Workspace, source: str, reduce: Callable[[Doubles], float]) -> MetricResult:
    values = silhouettes(ws, source)
    known = np.flatnonzero(np.isfinite(values))
    value = reduce(values[known])
    rng = ws.rng(10)
    replicates = np.array([reduce(values[rng.choice(known, known.size)]) for _ in range(ws.config.bootstrap)])
    return MetricResult(
        value,
        interval(resample.percentile_interval(replicates), "bootstrap over samples", ws.config.bootstrap),
        null(PERMUTED if source == "labels" else GAUSSIAN, (reduce(s) for s in _silhouette_null(ws, source))),
        per_class=class_means(ws, values) if ws.labeled else None,
        per_sample=values,
        parameters={"samples": int(known.size), "source": source},
    )


def _silhouette_null(ws: Workspace, source: str) -> list[Doubles]:
    cap = min(2000, ws.config.silhouette_samples)
    some = _silhouette_rows(ws, cap)

    def compute() -> list[Doubles]:
        if source == "labels":
            order = ws.permuted[: ws.config.null_draws]
            return [_silhouette(ws.space[some], ws.labels[p][some]) for p in order]
        return [_silhouette(x[some], c.labels[some]) for x, (c, _) in structureless(ws)]

    return ws.once(("silhouette null", source), compute)


def _mean(values: Doubles) -> float:
    return float(values.mean())


def _std(values: Doubles) -> float:
    return float(values.std())


def _silhouette_spec(name: str, of: str, needs: frozenset[Need], std: bool) -> MetricSpec:
    what = "Spread of the silhouette" if std else "Silhouette"
    return _spec(
        name,
        f"{what} of {of}",
        "high: some samples sit well and others badly; lowest when there is no structure at all"
        if std
        else f"high: samples are nearer to their own of the {of} than to the next",
        f"{'std' if std else 'mean'} over samples of (b - a) / max(a, b), Euclidean on unit vectors",
        "Rousseeuw 1987; Weng et al. 2025, arXiv 2501.18452 (summary only)",
        "O(min(N, 5000)^2 D)",
        status=Status.PUBLISHED if not std else Status.ADAPTED,
        needs=needs,
        low=0 if std else -1,
        direction=Direction.NEITHER if std else Direction.HIGHER,
    )


@metric(_silhouette_spec("silhouette_mean", "clusters", frozenset(), False), rows=Rows.GIVEN)
def silhouette_mean(ws: Workspace) -> MetricResult:
    """Mean silhouette of the first k-means clustering, in [-1, 1]; scikit-learn's definition, N capped."""
    return _silhouette_result(ws, "clusters", _mean)


@metric(_silhouette_spec("silhouette_std", "clusters", frozenset(), True), rows=Rows.GIVEN)
def silhouette_std(ws: Workspace) -> MetricResult:
    """Standard deviation over samples of the silhouette of clusters. Never rank encoders by it alone."""
    return _silhouette_result(ws, "clusters", _std)


@metric(_silhouette_spec("silhouette_labels_mean", "classes", _LABELS, False), rows=Rows.GIVEN)
def silhouette_labels_mean(ws: Workspace) -> MetricResult:
    """Mean silhouette of the labeled classes, in [-1, 1]; null: labels permuted."""
    return _silhouette_result(ws, "labels", _mean)


@metric(_silhouette_spec("silhouette_labels_std", "classes", _LABELS, True), rows=Rows.GIVEN)
def silhouette_labels_std(ws: Workspace) -> MetricResult:
    """Standard deviation over samples of the silhouette of classes. Never rank encoders by it alone."""
    return _silhouette_result(ws, "labels", _std)
