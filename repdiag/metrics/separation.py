"""Separation of classes as classical statistics and coding theory measure it (science section 2, companions).

Davies-Bouldin, Calinski-Harabasz and Fisher's ratio follow from the class geometry; VCI and the rate reduction look
at whole covariances. None of them compares across spaces of different dimension: read them beside their nulls.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from repdiag.kernels import classes
from repdiag.kernels.rows import Doubles, Floats, blocks
from repdiag.metrics import Rows, metric
from repdiag.metrics._answers import PERMUTED, null, singletons
from repdiag.metrics._class_geometry import (
    davies_bouldin_terms,
    from_geometry,
    influence_interval,
    known_rows,
    some_permuted,
)
from repdiag.metrics.crowding import COSINE_LAWS, LABELS
from repdiag.types import Direction, IntArray, MetricResult, MetricSpec, Status
from repdiag.workspace import Skip, Workspace

FLOOR = 1e-10
"""Directions whose variance is below this share of the largest are rounding of float32 rows, and left out."""


@metric(
    MetricSpec(
        name="davies_bouldin",
        family="crowding",
        title="Davies-Bouldin index",
        meaning="high: most classes have a neighbor that they run into",
        formula="mean over c of max over c' of (s_c + s_c') / ||mu_c - mu_c'||, s_c = mean ||x - mu_c||",
        source="Davies & Bouldin 1979, as scikit-learn defines it",
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
def davies_bouldin(ws: Workspace) -> MetricResult:
    """Davies-Bouldin index of the labels as a clustering, in [0, inf); lower is better separated.

    mean_c max_{c'} (s_c + s_c') / ||mu_c - mu_c'||, s_c the mean Euclidean distance of class c's evaluated rows to
    their center mu_c, in float64. Each class counts with its *worst* pair, so a few near pairs among many classes
    decide it (`per_class` holds the ratios), and it grows with K. Classes weigh alike; those with fewer than two
    samples are left out (scikit-learn keeps them, at s = 0). Skipped when two centers coincide, where scikit-learn
    returns 0 or drops the pair. Does not compare across spaces. Invariant to sample order, rotation and scale.
    O(ND + K^2 D) time. Two classes {0, 2} and {10, 12} on a line: (1 + 1) / 10 = 0.2.
    """
    terms = davies_bouldin_terms(ws.space_geometry)
    per_class = np.full(ws.k, np.nan)
    if terms.size:
        per_class[ws.space_geometry.known] = terms
    return from_geometry(ws, "davies_bouldin", per_class, given=True)


@metric(
    MetricSpec(
        name="calinski_harabasz",
        family="crowding",
        title="Calinski-Harabasz index",
        meaning="high: centers are further apart than the spread inside classes explains",
        formula="(sum n_c ||mu_c - mu||^2 / (K - 1)) / (sum n_c tr(Sigma_c) / (N - K))",
        source="Calinski & Harabasz 1974, as scikit-learn defines it",
        status=Status.PUBLISHED,
        direction=Direction.HIGHER,
        low=0,
        high=float("inf"),
        unit="",
        needs=LABELS,
        laws=COSINE_LAWS,
        cost="O(ND + K^2 D)",
        by_size=True,
    ),
    rows=Rows.GIVEN,
)
def calinski_harabasz(ws: Workspace) -> MetricResult:
    """Variance ratio (a pseudo-F) of the labels as a clustering, in [0, inf); higher is better separated.

    mu is the mean of all rows, mu_c of class c (n_c rows); float64. It *grows in proportion to N* for the same
    classes: never compare it across sample sizes. Random labels give about 1 where rows vary in all directions alike.
    Samples weigh alike, so large classes decide it. Classes with fewer than two samples are left out. Skipped when
    rows of one class all coincide with their center in every class (the ratio has no value then; scikit-learn
    returns 1). Does not compare across spaces. O(ND + K^2 D) time. {0, 2} and {10, 12} on a line: (100/1) / (4/2) = 50.
    """
    return from_geometry(
        ws,
        "calinski_harabasz",
        given=True,
        undefined="fewer than two classes have two samples, or no class has any spread",
    )


@metric(
    MetricSpec(
        name="fisher_ratio",
        family="crowding",
        title="Fisher ratio between / within",
        meaning="high: class centers vary more than samples vary inside a class",
        formula="tr(S_B) / tr(S_W), S_B and S_W means over classes",
        source="trace form of Fisher's discriminant ratio",
        status=Status.PUBLISHED,
        direction=Direction.HIGHER,
        low=0,
        high=float("inf"),
        unit="",
        needs=LABELS,
        laws=COSINE_LAWS,
        cost="O(ND + K^2 D)",
    ),
    rows=Rows.GIVEN,
)
def fisher_ratio(ws: Workspace) -> MetricResult:
    """Variance of the class centers over the variance inside classes, in [0, inf); higher is more separated.

    tr(S_B) = mean_c ||mu_c - mu_G||^2 with mu_G the mean of the centers, tr(S_W) = mean_c tr(Sigma_c), population
    forms, float64; classes weigh alike, those with fewer than two samples are left out. On unit vectors it is
    R^2 / (1 - R^2) of `r2_separation`, so it adds no evidence there, only an open scale at the separated end. Random
    labels give about 1/n_c, not 0 (the null). Directions are not whitened: `vci` does that. Skipped when no class has
    any spread. O(ND + K^2 D) time. {0, 2} and {10, 12} on a line: 25 / 1 = 25.
    """
    return from_geometry(
        ws,
        "fisher_ratio",
        given=True,
        undefined="fewer than two classes have two samples, or no class has any spread",
    )


# ------------------------------------------------------------------------------------------ whole covariances


def _covariance(x: Floats, mean: Doubles) -> Doubles:
    second = np.zeros((x.shape[1], x.shape[1]))
    for b in blocks(len(x), x.shape[1] * 12):
        part = x[b] - mean
        second += part.T @ part
    return second / len(x)


@metric(
    MetricSpec(
        name="vci",
        family="crowding",
        title="Variability collapse index",
        meaning="high: little of the variance, direction by direction, lies between classes",
        formula="1 - tr(pinv(S_T) S_B) / min(D, K - 1)",
        source="Xu & Liu 2023, arXiv 2306.03440",
        status=Status.ADAPTED,
        direction=Direction.LOWER,
        low=0,
        high=1,
        unit="",
        needs=LABELS,
        laws=COSINE_LAWS,
        cost="O(N D^2 + D^3)",
        by_size=True,
    ),
    rows=Rows.GIVEN,
)
def vci(ws: Workspace) -> MetricResult:
    """One minus the share of whitened variance that class centers explain, in [0, 1]; lower is more collapsed.

    S_T = mean_i (x_i - mu)(x_i - mu)', S_B = sum_c n_c/N (mu_c - mu)(mu_c - mu)', D x D, float64; pinv drops
    directions whose variance is below 1e-10 of the largest, and D counts those that are kept. Ours: with unequal
    classes each weighs by its samples, as in the analysis of variance (tr(S_T^-1 S_B) is then Pillai's trace, the sum
    of squared canonical correlations with the labels); for equal classes that is the source's form. Whitened: a
    direction counts the same however little it varies, so this tells what a linear probe could use, not what the
    eye or a kNN sees; nothing but full rank changes it under invertible linear maps.

    Plug-in: directions fitted to N rows explain noise, so that random labels give about 1 - max(D, K-1)/N, the null:
    below N = 10 D read it against that. Skipped when D >= N - 1, where any labels are explained fully. Classes with
    fewer than two samples are left out. Interval: infinitesimal jackknife.
    O(N D^2 + D^3 + NDK) time, O(D^2 + KD) memory. Centers without spread: 0.
    """
    chosen = known_rows(ws)
    x, y = (ws.space, ws.labels) if chosen is None else (ws.space[chosen], ws.labels[chosen])
    n, d = x.shape
    if d >= n - 1:
        raise Skip(f"{d} features of {n} samples: a covariance needs more samples than features")
    present = np.unique(y)
    if present.size < 2:
        raise Skip("fewer than two classes have two samples")
    y, k = np.searchsorted(present, y), int(present.size)
    mean = x.mean(0, dtype=np.float64)
    values, vectors = np.linalg.eigh(_covariance(x, mean))
    kept = values > max(FLOOR * values[-1], classes.COINCIDENT**2 * float(mean @ mean))
    if not kept.any():
        raise Skip("all embeddings are alike")
    white = vectors[:, kept] / np.sqrt(values[kept])
    share = np.bincount(y, minlength=k) / n
    ceiling = float(min(white.shape[1], k - 1))

    def centers(labels: IntArray) -> Doubles:
        return cast(Doubles, (classes.class_means(x, labels, k)[0] - mean) @ white)

    def index(z: Doubles) -> float:
        return 1.0 - float(share @ (z**2).sum(1)) / ceiling

    z = centers(y)
    value = min(1.0, max(0.0, index(z)))
    rng = ws.rng(61)
    permuted = some_permuted(ws, 20.0 * n * d + k * d**2)
    influence = -_explained(x, y, mean, white, z, share) / n / ceiling
    return MetricResult(
        value,
        influence_interval(value, influence, y, k),
        null(PERMUTED, [index(centers(rng.permutation(y))) for _ in permuted]),
        parameters={"classes": k, "rank": int(kept.sum()), "samples": n},
        note=singletons(ws),
    )


def _explained(x: Floats, y: IntArray, mean: Doubles, white: Doubles, z: Doubles, share: Doubles) -> Doubles:
    """N times the derivative of tr(pinv(S_T) S_B) in each row's share (N,), up to a constant within each class.

    With t_c = (x_i - mu)' pinv(S_T) (mu_c - mu): 2 t_y - sum_c share_c t_c^2.
    """
    toward = white @ z.T
    at = (mean @ toward).astype(np.float32)
    thin, out = toward.astype(np.float32), np.empty(len(x))
    for b in blocks(len(x), (x.shape[1] + 3 * len(z)) * 4):
        t = (x[b] @ thin - at).astype(np.float64)
        out[b] = 2 * t[np.arange(len(t)), y[b]] - t**2 @ share
    return out


EPS_SQUARE = 0.5
"""The squared distortion of the rate reduction; the source's experiments take it too."""


@metric(
    MetricSpec(
        name="delta_r",
        family="crowding",
        title="Rate reduction (MCR²)",
        meaning="high: all samples together span far more than each class on its own",
        formula="R(X) - sum_c n_c/N R(X_c), R(X) = 1/2 logdet(I + D/(N eps^2) X'X), eps^2 = 0.5, unit rows",
        source="Yu et al. 2020, arXiv 2006.08558",
        status=Status.PUBLISHED,
        direction=Direction.HIGHER,
        low=0,
        high=float("inf"),
        unit="nats",
        needs=LABELS,
        laws=COSINE_LAWS,
        cost="O(N D min(D, N/K) + N D^2)",
        by_size=True,
    )
)
def delta_r(ws: Workspace) -> MetricResult:
    """Nats that naming the class saves in coding a unit row to distortion eps, in [0, inf); higher is better.

    R(X) - sum_c n_c/N R(X_c) with R(X) = 1/2 logdet(I + D/(n eps^2) X'X) over n unit rows of D features and
    eps^2 = 0.5 (a choice: another eps gives another number, and what is called eps in released code is eps^2). Rows
    are not centered. Grams and determinants in float64, always on the smaller side. It grows with D, and while
    n_c < D a class cannot span the space whatever its labels: random labels already score, so subtract the null.
    Samples weigh alike, by definition; classes with one sample take part. `parameters` holds both rates. Interval:
    infinitesimal jackknife. The nulls' Grams are in float32 and there are at least five of them. O(N D^2) time,
    O(D^2) memory. Two orthogonal directions, one per class, many rows each: log(1 + 2) - log(1 + 4)/2 = 0.294.
    """
    x, y, n = ws.x, ws.labels, len(ws)
    whole, leverage = _rate(x)
    within, own = 0.0, np.zeros(n)
    for rows in classes.members(y, ws.k):
        if rows.size:
            rate, own[rows] = _rate(x[rows])
            within += rows.size / n * rate
    value = max(0.0, whole - within)
    nulls = []
    for p in some_permuted(ws, float(n) * ws.dim * min(ws.dim, max(1, n // ws.k))):
        parts = (rows for rows in classes.members(y[p], ws.k) if rows.size)
        nulls.append(max(0.0, whole - sum(rows.size / n * _quick_rate(x[rows]) for rows in parts)))
    return MetricResult(
        value,
        influence_interval(value, (leverage - own) / n, y, ws.k),
        null(PERMUTED, nulls),
        parameters={"eps_square": EPS_SQUARE, "rate": whole, "rate_within": within},
        note=_single(ws),
    )


def _rate(x: Floats) -> tuple[float, Doubles]:
    """R of rows `x` (n, D), and how it moves with each row's share: D/(2 eps^2) x'(I + D/(n eps^2) X'X)^-1 x (n,)."""
    from scipy.linalg.lapack import dtrtri

    n, d = x.shape
    scale = d / (n * EPS_SQUARE)
    if n < d:
        rows = x.astype(np.float64)
        root = _root(rows @ rows.T, scale)
        inverse, _ = dtrtri(root, lower=1)
        return float(np.log(np.diag(root)).sum()), n / 2 * (1 - (inverse**2).sum(0))
    second = np.zeros((d, d))
    for b in blocks(n, d * 8):
        part = x[b].astype(np.float64)
        second += part.T @ part
    root = _root(second, scale)
    inverse, _ = dtrtri(root, lower=1)
    thin, length = inverse.T.astype(np.float32), np.empty(n)
    for b in blocks(n, d * 8):
        length[b] = ((x[b] @ thin).astype(np.float64) ** 2).sum(1)
    return float(np.log(np.diag(root)).sum()), d / (2 * EPS_SQUARE) * length


def _quick_rate(x: Floats) -> float:
    """R of rows `x` (n, D), the Gram in float32."""
    n, d = x.shape
    gram = x @ x.T if n < d else x.T @ x
    return float(np.log(np.diag(_root(gram.astype(np.float64), d / (n * EPS_SQUARE)))).sum())


def _root(gram: Doubles, scale: float) -> Doubles:
    """The lower Cholesky factor of I + scale * gram; `gram` is used up."""
    gram *= scale
    gram[np.diag_indices_from(gram)] += 1
    return np.asarray(np.linalg.cholesky(gram))


def _single(ws: Workspace) -> str | None:
    """A note about classes with one evaluated sample, which take part here."""
    single = int((np.bincount(ws.labels, minlength=ws.k) == 1).sum())
    return f"Takes part: classes with a single sample ({single})." if single else None
