"""Crowding: are classes pressed together, and how wide is each one? (science section 2)

The claim is that of Song et al. (arXiv 2407.13541); their own formulas for it were not recovered, so what is
called crowding here is ours, built from measures with a literature. All on unit vectors, on held-out rows; the
two CDNVs and the nearest center on rows as given where `--no-l2` keeps those.
"""

from __future__ import annotations

import numpy as np

from repdiag.kernels import resample
from repdiag.kernels.rows import Doubles
from repdiag.metrics import Rows, metric
from repdiag.metrics._answers import (
    PERMUTED,
    defined,
    interval,
    null,
    sample_mean,
    singletons,
)
from repdiag.metrics._centers import permuted_errors
from repdiag.metrics._class_geometry import from_geometry
from repdiag.metrics._class_tables import (
    center_errors,
    class_columns,
    close_pairs,
    nearest_distance,
    pair_columns,
)
from repdiag.metrics._directional import pair_values, permuted_values
from repdiag.types import Direction, Law, MetricResult, MetricSpec, Need, Status
from repdiag.workspace import Workspace

__all__ = ["class_columns", "pair_columns"]

LABELS = frozenset({Need.LABELS})
COSINE_LAWS = frozenset({Law.PERMUTATION, Law.ROTATION, Law.SCALE, Law.FEATURE_ORDER})


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
    return from_geometry(ws, "intra_class_variance", ws.geometry.variance)


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
    a, b = close_pairs(ws.geometry)
    table = tuple(
        {"class_a": ws.class_names[i], "class_b": ws.class_names[j], "distance": float(distance[i, j])}
        for i, j in zip(a[:10], b[:10], strict=True)
    )
    return from_geometry(ws, "inter_class_distance", nearest_distance(ws.geometry), table)


@metric(
    MetricSpec(
        name="inter_class_distance_min",
        family="crowding",
        title="Distance of the two nearest classes",
        meaning="high: even the two classes that lie closest have centers far apart",
        formula="min over c != c' of ||mu_c - mu_c'||",
        source="standard; claim of Song et al. 2024, arXiv 2407.13541",
        status=Status.OURS,
        direction=Direction.HIGHER,
        low=0,
        high=2,
        unit="",
        needs=LABELS,
        laws=COSINE_LAWS,
        cost="O(ND + K^2 D)",
        by_size=True,
    )
)
def inter_class_distance_min(ws: Workspace) -> MetricResult:
    """Smallest Euclidean distance between two class centers, unit vectors, in [0, 2]; higher is better.

    min over pairs of classes of ||mu_c - mu_c'||; `parameters` name the pair, the most crowded one. Plug-in: the
    noise of two means inflates it as in `inter_class_distance` (so it falls as N grows), while the minimum over K^2/2
    pairs pulls it down as K grows: compare it at equal N and K only. Classes with fewer than two samples are left out.
    Interval: bootstrap standard error of the minimum, whichever pair attains it. O(ND + K^2 D) time. Centers at e1,
    e2 and (e1 + e2) / sqrt(2): sqrt(2 - sqrt(2)).
    """
    a, b = close_pairs(ws.geometry, 1)
    nearest = {"nearest_pair": (ws.class_names[a[0]], ws.class_names[b[0]])} if a.size else {}
    return from_geometry(
        ws,
        "inter_class_distance_min",
        nearest_distance(ws.geometry),
        parameters=nearest,
        undefined="fewer than two classes have two samples",
    )


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
    return from_geometry(ws, "r2_separation")


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
    return from_geometry(ws, "cdnv", given=True)


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
    rows with the directions held; classes weigh alike. Needs four rows in at least two classes. Above 200 classes the
    null takes 200 of the permuted classes at a time (they are all alike). O(NDK) time.
    """
    found = pair_values(ws)[1]
    value = defined(float(found[0]), "fewer than two classes have the four samples that cross-fitting needs")
    return MetricResult(
        value,
        interval(
            resample.normal_interval(value, found[1:]),
            "bootstrap standard error, directions held",
            len(found) - 1,
        ),
        null(PERMUTED, permuted_values(ws)),
        note=singletons(ws),
    )


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
    it is compared with. The plainest crowding number; samples weigh alike, so large classes count more. Null: labels
    permuted, fewer times (at least five) where N D K is above 4e9. O(NDK) time.
    """
    return sample_mean(ws, center_errors(ws), null_draws=permuted_errors(ws), per_class=True)


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
