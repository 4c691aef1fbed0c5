"""Crowding: are classes pressed together, and how wide is each one? (science section 2)

The claim is that of Song et al. (arXiv 2407.13541); their own formulas for it were not recovered, so what is
called crowding here is ours, built from measures with a literature. All on unit vectors, on held-out rows; the
two CDNVs and the nearest center on rows as given where `--no-l2` keeps those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from repdiag.kernels import classes, resample
from repdiag.kernels.classes import ClassGeometry
from repdiag.kernels.rows import Doubles
from repdiag.metrics import Rows, metric
from repdiag.metrics._answers import (
    PERMUTED,
    class_means,
    defined,
    interval,
    known_mean,
    null,
    sample_mean,
    singletons,
)
from repdiag.types import Direction, Law, MetricResult, MetricSpec, Need, Status
from repdiag.workspace import Fold, Workspace

LABELS = frozenset({Need.LABELS})
COSINE_LAWS = frozenset({Law.PERMUTATION, Law.ROTATION, Law.SCALE, Law.FEATURE_ORDER})


def _variance(g: ClassGeometry) -> float:
    return known_mean(g.variance)


def _distance(g: ClassGeometry) -> float:
    return known_mean(g.distance)


def r2(g: ClassGeometry) -> float:
    """1 - (1 - avg_c ||mu_c||^2) / (1 - ||avg_c mu_c||^2)."""
    within, total = 1 - known_mean(g.center_square), 1 - g.grand_square
    return 1 - within / total if total > 0 else float("nan")


def cdnv_value(g: ClassGeometry) -> float:
    """Mean over pairs i != j of (Var_i + Var_j) / (2 ||mu_i - mu_j||^2)."""
    both = g.variance[:, None] + g.variance[None, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = both / (2 * g.distance**2)
    known = np.isfinite(g.distance)
    return float(ratio[known].mean()) if known.any() and (g.distance[known] > 0).all() else float("nan")


REDUCTIONS: dict[str, Callable[[ClassGeometry], float]] = {
    "intra_class_variance": _variance,
    "inter_class_distance": _distance,
    "r2_separation": r2,
    "cdnv": cdnv_value,
}


def _replicates(ws: Workspace, given: bool) -> tuple[dict[str, Doubles], dict[str, Doubles]]:
    """Each reduction under at most 100 bootstrap draws (only their spread is used) and under permuted labels.

    All four are taken from one geometry at a time: a geometry holds K x K distances, too much to keep 120 of.
    `given`: of rows as they were given, where they are kept so (`Workspace.space`).
    """

    def reduced(geometries: Iterable[ClassGeometry]) -> dict[str, Doubles]:
        rows = np.array([[reduce(g) for reduce in REDUCTIONS.values()] for g in geometries])
        return dict(zip(REDUCTIONS, rows.T, strict=True))

    def compute() -> tuple[dict[str, Doubles], dict[str, Doubles]]:
        draws = (geometry_of(ws.labels, w) for w in ws.draws[:100])
        null_draws = (geometry_of(ws.labels[p]) for p in ws.permuted)
        return reduced(draws), reduced(null_draws)

    given = given and ws.space is not ws.x
    geometry_of = ws.space_geometry_of if given else ws.geometry_of
    return ws.once(("crowding replicates", given), compute)


def _from_geometry(
    ws: Workspace,
    name: str,
    per_class: Doubles | None = None,
    table: tuple[dict[str, float | str], ...] = (),
    given: bool = False,
) -> MetricResult:
    value = defined(
        REDUCTIONS[name](ws.space_geometry if given else ws.geometry),
        "fewer than two classes have two samples, or two class centers coincide",
    )
    draws, nulls = (found[name] for found in _replicates(ws, given))
    return MetricResult(
        value,
        interval(resample.normal_interval(value, draws), "bootstrap standard error", draws.size),
        null(PERMUTED, nulls),
        per_class=per_class,
        table=table,
        parameters={"classes": int(np.isfinite(ws.geometry.variance).sum())},
        note=singletons(ws),
    )


@metric(
    MetricSpec(
        name="intra_class_variance",
        family="crowding",
        title="Variance inside a class",
        meaning="high: the samples of one class are spread over the sphere",
        formula="mean over classes of 1 - ||mu_c||^2, on unit vectors = tr(Sigma_c)",
        source="standard; claim of Song et al. 2024, arXiv 2407.13541",
        status=Status.OURS,
        direction=Direction.LOWER,
        low=0,
        high=1,
        unit="",
        needs=LABELS,
        laws=COSINE_LAWS,
        cost="O(ND)",
    )
)
def intra_class_variance(ws: Workspace) -> MetricResult:
    """Mean over classes of tr(Sigma_c) = 1 - ||mu_c||^2 on unit vectors, in [0, 1]; lower is tighter.

    mu_c is the mean unit vector of class c among the evaluated rows, sums in float64; population form (its
    expectation falls short of the true variance by the factor 1 - 1/n_c). Classes with fewer than two rows are
    left out. Invariant to sample order, rotation and scale. O(ND) time, O(KD) memory.

    Two classes at two points each: {e1, e2} and {e3, e3} give (1 - 1/2 + 0) / 2 = 0.25.
    """
    return _from_geometry(ws, "intra_class_variance", ws.geometry.variance)


@metric(
    MetricSpec(
        name="inter_class_distance",
        family="crowding",
        title="Distance between class centers",
        meaning="high: class centers lie far apart",
        formula="mean over c != c' of ||mu_c - mu_c'||",
        source="standard; claim of Song et al. 2024, arXiv 2407.13541",
        status=Status.OURS,
        direction=Direction.HIGHER,
        low=0,
        high=2,
        unit="",
        needs=LABELS,
        laws=COSINE_LAWS,
        cost="O(ND + K^2 D)",
    )
)
def inter_class_distance(ws: Workspace) -> MetricResult:
    """Mean Euclidean distance between the centers of two classes, unit vectors, in [0, 2]; higher is better.

    Plug-in: noise in each mean inflates it by about (tr(Sigma_i)/n_i + tr(Sigma_j)/n_j) in the square, which is
    what the null shows. `per_class` is the distance to the nearest other class; `table` lists the ten nearest
    pairs: the crowded ones. O(ND + K^2 D) time, O(KD + K^2) memory. Two classes at e1 and e2: sqrt(2).
    """
    distance = ws.geometry.distance
    pairs = np.argwhere(np.triu(np.isfinite(distance), 1))
    nearest = pairs[np.argsort(distance[pairs[:, 0], pairs[:, 1]], kind="stable")[:10]]
    table = tuple(
        {"class_a": ws.class_names[a], "class_b": ws.class_names[b], "distance": float(distance[a, b])}
        for a, b in nearest
    )
    return _from_geometry(ws, "inter_class_distance", nearest_distance(ws.geometry), table)


def nearest_distance(g: ClassGeometry) -> Doubles:
    """Distance of each class center to the nearest other one (K,); NaN where there is none."""
    filled = np.where(np.isfinite(g.distance), g.distance, np.inf).min(1)
    return np.where(np.isfinite(filled), filled, np.nan)


@metric(
    MetricSpec(
        name="r2_separation",
        family="crowding",
        title="Class separation R²",
        meaning="high: most of the cosine spread lies between classes, little inside them",
        formula="1 - d_within / d_total in cosine = 1 - (1 - avg ||mu_c||^2) / (1 - ||avg mu_c||^2)",
        source="Kornblith et al. 2021, arXiv 2010.16402",
        status=Status.PUBLISHED,
        direction=Direction.HIGHER,
        low=0,
        high=1,
        unit="",
        needs=LABELS,
        laws=COSINE_LAWS,
        cost="O(ND)",
        headline=True,
    )
)
def r2_separation(ws: Workspace) -> MetricResult:
    """Kornblith's class separation on unit vectors, in [0, 1]; higher is more separated.

    1 - d_w/d_t, d_w the mean cosine distance inside classes and d_t over all pairs, each class weighing the
    same, pairs of a sample with itself included: equal to the closed form in O(ND). More separation is not
    always better: the source shows that it can hurt transfer. Simplex centers without spread: 1.
    """
    return _from_geometry(ws, "r2_separation")


@metric(
    MetricSpec(
        name="cdnv",
        family="crowding",
        title="Class-distance normalized variance",
        meaning="high: classes are wide compared with the gaps between them",
        formula="mean over i != j of (Var_i + Var_j) / (2 ||mu_i - mu_j||^2)",
        source="Galanti et al. 2022, arXiv 2112.15121",
        status=Status.PUBLISHED,
        direction=Direction.LOWER,
        low=0,
        high=float("inf"),
        unit="",
        needs=LABELS,
        laws=COSINE_LAWS,
        cost="O(ND + K^2 D)",
    ),
    rows=Rows.GIVEN,
)
def cdnv(ws: Workspace) -> MetricResult:
    """Class-distance normalized variance over all pairs of classes, in [0, inf); lower is better.

    Var_i is the population variance of class i on unit vectors. The closest pairs dominate the mean; random
    labels give about n_c/2, the null. Skipped when two centers coincide. O(ND + K^2 D) time.
    """
    return _from_geometry(ws, "cdnv", given=True)


def _halves(ws: Workspace) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], ...]:
    """The evaluated rows in two halves, each class dealt out alternately."""
    rng, side = ws.rng(6), np.empty(len(ws), np.int64)
    for c in range(ws.k):
        members = rng.permutation(np.flatnonzero(ws.labels == c))
        side[members] = np.arange(members.size) % 2
    return np.flatnonzero(side == 0), np.flatnonzero(side == 1)


def _pairwise(square: Doubles, mean: Doubles, distance: Doubles) -> Doubles:
    """Directional variance over squared distance per ordered pair (K, K): row class along its pair's axis."""
    return (square - mean**2) / distance**2


def _directional(ws: Workspace, labels: np.ndarray[tuple[int], np.dtype[np.int64]], draws: bool) -> Doubles:
    """Directional CDNV as [value, bootstrap replicates...]; directions from one half, variance from the other."""
    totals = []
    # K x K per draw: fewer draws for many classes keep this below 512 MiB.
    n_draws = min(100, len(ws.draws), max(20, 2**25 // ws.k**2)) if draws else 0
    for fit, check in (_halves(ws), _halves(ws)[::-1]):
        means, _ = classes.class_means(ws.space[fit], labels[fit], ws.k)
        spread, distance = classes.directional_spread(ws.space[check], labels[check], means)
        ratio = np.full((1 + n_draws, ws.k, ws.k), np.nan)
        for c, t in enumerate(spread):
            if len(t) < 2:
                continue
            weight = np.ones((1 + n_draws, len(t)))
            if n_draws:
                weight[1:] = ws.draws[:n_draws, check[labels[check] == c]]
            weight /= np.maximum(weight.sum(1, keepdims=True), 1)
            ratio[:, c] = _pairwise(weight @ t**2, weight @ t, distance[c])
        both = ratio + ratio.transpose(0, 2, 1)
        known = np.isfinite(both[0])
        totals.append(both[:, known].mean(1) if known.any() else np.full(1 + n_draws, np.nan))
    return np.asarray(np.mean(totals, axis=0))


@metric(
    MetricSpec(
        name="directional_cdnv",
        family="crowding",
        title="Directional CDNV",
        meaning="high: classes overlap along the line that joins their centers",
        formula="mean over i != j of (u'S_i u + u'S_j u) / ||mu_i - mu_j||^2, u the unit difference; cross-fitted",
        source="arXiv 2506.04411",
        status=Status.ADAPTED,
        direction=Direction.LOWER,
        low=0,
        high=float("inf"),
        unit="",
        needs=LABELS,
        laws=COSINE_LAWS,
        cost="O(NDK)",
    ),
    rows=Rows.GIVEN,
)
def directional_cdnv(ws: Workspace) -> MetricResult:
    """Variance along the line between two class centers over their squared distance, [0, inf); lower is better.

    The plug-in form is biased low (the direction is fitted to the very rows whose variance is taken), so it is
    cross-fitted: means and distances from one half of the rows, variances from the other, and back; that is our
    change. SSL training is said to lower this far more than CDNV, so read them together. The interval resamples
    rows with the directions held. Needs four rows in at least two classes. O(NDK) time.
    """
    found = _directional(ws, ws.labels, True)
    value = defined(float(found[0]), "fewer than two classes have the four samples that cross-fitting needs")
    return MetricResult(
        value,
        interval(
            resample.normal_interval(value, found[1:]),
            "bootstrap standard error, directions held",
            len(found) - 1,
        ),
        null(PERMUTED, (float(_directional(ws, ws.labels[p], False)[0]) for p in ws.permuted)),
        note=singletons(ws),
    )


def _center_errors(
    ws: Workspace,
    reference_labels: np.ndarray[tuple[int], np.dtype[np.int64]],
    labels: np.ndarray[tuple[int], np.dtype[np.int64]],
) -> Doubles:
    """1 where a sample is nearer to another class's center than to its own's (N,), out of fold."""
    wrong = np.ones(len(ws))
    for fold in ws.folds:
        wrong[fold.test] = nearest_center(ws, fold, reference_labels) != labels[fold.test]
    return wrong


def _own_center_errors(ws: Workspace) -> Doubles:
    return ws.once("center errors", lambda: _center_errors(ws, ws.reference_labels, ws.labels))


def nearest_center(
    ws: Workspace, fold: Fold, reference_labels: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Class of the nearest center (Euclidean, unit vectors) for the fold's test rows."""
    means, total = classes.class_means(ws.reference_space[fold.train], reference_labels[fold.train], ws.k)
    means[total == 0] = 0
    offset = np.where(total > 0, (means**2).sum(1) / 2, np.inf)
    score = ws.space[fold.test] @ means.astype(np.float32).T - offset
    return np.asarray(score.argmax(1), np.int64)


@metric(
    MetricSpec(
        name="nearest_center_error",
        family="crowding",
        title="Nearer to another class's center",
        meaning="high: many samples lie closer to the center of another class than to their own's",
        formula="share of samples whose nearest class center (out of fold) is not their class's",
        source="Papyan et al. 2020 (NC4), arXiv 2008.08186; as an error, ours",
        status=Status.ADAPTED,
        direction=Direction.LOWER,
        low=0,
        high=1,
        unit="share",
        needs=LABELS,
        laws=COSINE_LAWS,
        cost="O(NDK)",
        headline=True,
    ),
    rows=Rows.GIVEN,
)
def nearest_center_error(ws: Workspace) -> MetricResult:
    """Share of evaluated samples nearer to another class's center than to their own's, in [0, 1].

    Centers come from the train part, or out of fold without a split: a sample never helps to make the center
    it is compared with. The plainest crowding number. Null: labels permuted. O(NDK) time.
    """
    nulls = []
    for p in ws.permuted:
        shuffled = ws.labels[p]
        reference = ws.rng(7).permutation(ws.reference_labels) if ws.has_split else shuffled
        nulls.append(float(_center_errors(ws, reference, shuffled).mean()))
    return sample_mean(ws, _own_center_errors(ws), null_draws=nulls, per_class=True)


@metric(
    MetricSpec(
        name="knn_purity",
        family="crowding",
        title="Neighbors of the same class",
        meaning="high: a sample's nearest neighbors are of its own class",
        formula="mean share of the k nearest other samples (cosine) that have the sample's label",
        source="standard",
        status=Status.OURS,
        direction=Direction.HIGHER,
        low=0,
        high=1,
        unit="share",
        needs=LABELS,
        laws=COSINE_LAWS,
        cost="O(N^2 D), tiled",
    )
)
def knn_purity(ws: Workspace) -> MetricResult:
    """Mean share of the k nearest other evaluated samples that carry the same label, in [0, 1].

    Cosine, exact, the sample itself masked before the cut to k (duplicates do count). Null: labels permuted on
    the same graph. O(N^2 D) time, O(Nk) memory.
    """
    k = min(ws.config.neighbors, ws.neighbors[1].shape[1])
    graph = ws.neighbors[1][:, :k]

    def purity(labels: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Doubles:
        return np.asarray((labels[graph] == labels[:, None]).mean(1))

    return sample_mean(
        ws,
        purity(ws.labels),
        null_draws=[float(purity(ws.labels[p]).mean()) for p in ws.permuted],
        per_class=True,
        parameters={"k": k},
    )


def class_columns(ws: Workspace) -> dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """Per-class crowding facts for the class table, each (K,)."""
    return {
        "intra_class_variance": ws.geometry.variance,
        "nearest_distance": nearest_distance(ws.geometry),
        "nearest_center_error": class_means(ws, _own_center_errors(ws)),
    }
