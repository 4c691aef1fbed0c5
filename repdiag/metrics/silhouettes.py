"""Silhouettes of clusters and of classes: mean, and spread over samples and over classes (science section 3)

The source speaks of SC_mean ("local") and SC_std ("stability") without saying whose labels and which axis: both label
sources and both axes are here, each by its own name.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from repdiag.kernels import resample
from repdiag.metrics import Rows, metric
from repdiag.metrics._answers import GAUSSIAN, PERMUTED, class_means, interval, null
from repdiag.metrics._clusters import spec
from repdiag.metrics.stability import structureless
from repdiag.types import (
    Direction,
    DoubleArray,
    FloatArray,
    IntArray,
    Law,
    MetricResult,
    MetricSpec,
    Need,
    Status,
)
from repdiag.workspace import Skip, Workspace

_LABELS = frozenset({Need.LABELS})
_SOURCE = "Rousseeuw 1987; Weng et al. 2025, arXiv 2501.18452 (summary only)"


def silhouettes(ws: Workspace, source: str) -> DoubleArray:
    """Silhouette of each evaluated sample (N,) by clusters or labels; NaN beyond the capped sample."""

    def compute() -> DoubleArray:
        out = np.full(len(ws), np.nan)
        some = _rows(ws, ws.config.silhouette_samples)
        labels = ws.labels if source == "labels" else ws.clusterings[0].labels
        out[some] = _silhouette(ws.space[some], labels[some])
        return out

    return ws.once(("silhouette", source), compute)


def _rows(ws: Workspace, cap: int) -> IntArray:
    if len(ws) <= cap:
        return np.arange(len(ws))
    return np.sort(ws.rng(9).choice(len(ws), cap, replace=False))


def _silhouette(x: FloatArray, labels: IntArray) -> DoubleArray:
    from sklearn.metrics import silhouette_samples

    present = np.unique(labels).size
    if not 2 <= present < len(labels):
        raise Skip(f"silhouette needs between 2 and N - 1 clusters, found {present} in {len(labels)} samples")
    return np.asarray(silhouette_samples(x, labels), np.float64)


def _null_draws(ws: Workspace, source: str) -> list[DoubleArray]:
    """Silhouettes of at most 2,000 rows without structure, once per draw."""

    def compute() -> list[DoubleArray]:
        some = _rows(ws, min(2000, ws.config.silhouette_samples))
        if source == "labels":
            permuted = [ws.labels[p][some] for p in ws.permuted[: ws.config.null_draws]]
            return [_silhouette(ws.space[some], y) for y in permuted]
        draws = [(d.rows(ws)[some], d.runs[0].labels[some]) for d in structureless(ws)]
        return [_silhouette(x, y) for x, y in draws]

    return ws.once(("silhouette null", source), compute)


def _result(ws: Workspace, source: str, reduce: Callable[[DoubleArray], float]) -> MetricResult:
    values = silhouettes(ws, source)
    known = np.flatnonzero(np.isfinite(values))
    value = reduce(values[known])
    rng = ws.rng(10)
    replicates = np.array([reduce(values[rng.choice(known, known.size)]) for _ in range(ws.config.bootstrap)])
    return MetricResult(
        value,
        interval(resample.percentile_interval(replicates), "bootstrap over samples", ws.config.bootstrap),
        null(PERMUTED if source == "labels" else GAUSSIAN, (reduce(s) for s in _null_draws(ws, source))),
        per_class=class_means(ws, values) if ws.labeled else None,
        per_sample=values,
        parameters={"samples": int(known.size), "source": source},
    )


def _mean(values: DoubleArray) -> float:
    return float(values.mean())


def _std(values: DoubleArray) -> float:
    return float(values.std())


def _spec(name: str, of: str, needs: frozenset[Need], std: bool) -> MetricSpec:
    what = "Spread of the silhouette" if std else "Silhouette"
    return spec(
        name,
        f"{what} of {of}",
        "high: some samples sit well and others badly; lowest when there is no structure at all"
        if std
        else f"high: samples are nearer to their own of the {of} than to the next",
        f"{'std' if std else 'mean'} over samples of (b - a) / max(a, b), Euclidean on unit vectors",
        _SOURCE,
        "O(min(N, 5000)^2 D)",
        status=Status.PUBLISHED if not std else Status.ADAPTED,
        needs=needs,
        low=0 if std else -1,
        direction=Direction.NEITHER if std else Direction.HIGHER,
    )


@metric(_spec("silhouette_mean", "clusters", frozenset(), False), rows=Rows.GIVEN)
def silhouette_mean(ws: Workspace) -> MetricResult:
    """High: samples are nearer to their own cluster than to the next one.

    Mean over samples of (b - a) / max(a, b): a is a sample's mean distance to the others of its cluster of the first
    k-means clustering, b the smallest mean distance to another cluster; scikit-learn's definition, 0 for a cluster of
    one. In [-1, 1], higher is better. At most 5,000 random samples count, the null (Gaussian rows, at most 2,000) as
    well. k-means draws its borders where the silhouette likes them: a Gaussian without clusters is not at 0.
    """
    return _result(ws, "clusters", _mean)


@metric(_spec("silhouette_std", "clusters", frozenset(), True), rows=Rows.GIVEN)
def silhouette_std(ws: Workspace) -> MetricResult:
    """High: some samples sit well in their cluster and others badly.

    Standard deviation (ddof 0) **over samples** of the silhouette of clusters, what the summary of Weng et al. 2025
    calls SC_std. In [0, 1]. **A trap: it is lowest where there is no structure at all** - all silhouettes are then
    near the same small number - rises when clusters appear and falls again when they part for good. A small value
    therefore says either "no structure" or "perfect structure": never rank encoders by it alone, and read
    `silhouette_mean` first.
    """
    return _result(ws, "clusters", _std)


@metric(_spec("silhouette_labels_mean", "classes", _LABELS, False), rows=Rows.GIVEN)
def silhouette_labels_mean(ws: Workspace) -> MetricResult:
    """High: samples are nearer to their own class than to the next one.

    As `silhouette_mean`, with the labeled classes for clusters, in [-1, 1]; null: labels permuted (slightly below 0:
    b is the smallest of many).
    """
    return _result(ws, "labels", _mean)


@metric(_spec("silhouette_labels_std", "classes", _LABELS, True), rows=Rows.GIVEN)
def silhouette_labels_std(ws: Workspace) -> MetricResult:
    """High: some samples sit well in their class and others badly.

    Standard deviation (ddof 0) **over samples** of the silhouette of classes, in [0, 1]. Lowest where there is no
    structure at all (see `silhouette_std`): never rank encoders by it alone. The null takes at most 2,000 rows: with
    hundreds of classes these have few samples each there, and it lies too high.
    """
    return _result(ws, "labels", _std)


@metric(
    spec(
        "silhouette_class_std",
        "Spread of the silhouette between classes",
        "high: some classes sit well apart and others do not; low also when no class does",
        "std over classes of the class's mean silhouette (labels), Euclidean on unit vectors",
        _SOURCE,
        "O(min(N, 5000)^2 D + B N)",
        status=Status.ADAPTED,
        needs=_LABELS,
        low=0,
        direction=Direction.NEITHER,
        laws=frozenset({Law.PERMUTATION, Law.SCALE, Law.ROTATION, Law.FEATURE_ORDER}),
    ),
    rows=Rows.GIVEN,
)
def silhouette_class_std(ws: Workspace) -> MetricResult:
    """High: some classes sit well apart and others do not; low also when no class does.

    std over classes c (ddof 0) of m_c, the mean silhouette of the samples of class c; `silhouette_labels_std` is the
    other axis, over samples. `per_class` holds m_c (NaN for a class without a sample among the at most 5,000 that
    count). float64, in [0, 1], neither way is better. The axis of the source's SC_std is unknown; this reading is
    ours.

    Two cautions. It shares SC_std's trap: without structure all m_c are near one small number and the spread is
    least. And it is a plug-in: noise in the m_c adds to it, so that few samples per class raise it; the null (labels
    permuted among the very rows that count, at most 3 draws) shows that floor. The interval takes the standard error
    of a bootstrap within classes, for resampling itself widens the spread. Skipped with fewer than two classes.
    Unmoved by rotation, scale and order. Example: three classes with mean silhouettes 0.1, 0.1 and 0.4: 0.141.
    """
    values = silhouettes(ws, "labels")
    known = np.flatnonzero(np.isfinite(values))
    s, y = values[known], ws.labels[known]
    means = class_means(ws, values)
    if np.isfinite(means).sum() < 2:
        raise Skip("fewer than two classes have a silhouette")
    value = _class_std(s, y, ws.k)
    replicates = np.array([_class_std(s, y, ws.k, draw[known].astype(np.float64)) for draw in ws.draws])
    return MetricResult(
        value,
        interval(resample.normal_interval(value, replicates), "bootstrap standard error", len(replicates)),
        null(PERMUTED, _class_std_by_chance(ws)),
        per_class=means,
        parameters={"samples": int(known.size), "over": "classes"},
    )


def _class_std_by_chance(ws: Workspace) -> list[float]:
    """The spread between classes under permuted labels, on as many rows as the value: fewer per class widen it."""
    some = _rows(ws, ws.config.silhouette_samples)
    permuted = [ws.labels[p][some] for p in ws.permuted[: min(3, ws.config.null_draws)]]
    return [_class_std(_silhouette(ws.space[some], y), y, ws.k) for y in permuted]


def _class_std(values: DoubleArray, labels: IntArray, k: int, weights: DoubleArray | None = None) -> float:
    """Spread of the classes' (weighted) mean `values`; classes without weight are left out."""
    w = np.ones(len(values)) if weights is None else weights
    total = np.bincount(labels, weights=w, minlength=k)
    means = np.bincount(labels, weights=w * values, minlength=k)[total > 0] / total[total > 0]
    return float(means.std()) if means.size else float("nan")
