"""Numbers that follow from one class geometry, with their bootstrap and permuted replicates taken together.

A geometry (means, distances, radii of K classes) is what costs; every number read off it is cheap. So all of them
are read off each replicate, whichever metric asks first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from repdiag.kernels import classes, resample, rows
from repdiag.kernels.classes import ClassGeometry
from repdiag.kernels.rows import Doubles
from repdiag.metrics._answers import PERMUTED, defined, interval, known_mean, null, singletons
from repdiag.metrics.spectrum import values_only
from repdiag.types import IntArray, Interval, MetricResult
from repdiag.workspace import Workspace

BUDGET = 2e10
"""Multiply-adds that one null may cost; above it fewer permutations are drawn, but never fewer than five."""


def some_permuted(ws: Workspace, work: float) -> tuple[IntArray, ...]:
    """As many of the workspace's permutations as BUDGET allows at `work` multiply-adds each; at least five.

    None where only values are wanted.
    """
    if values_only(ws):
        return ()
    return ws.permuted[: max(5, int(BUDGET / max(work, 1)))]


def n_draws(ws: Workspace) -> int:
    """Bootstrap draws where only their spread is used: at most 100, and fewer (20 at least) above 579 classes."""
    return min(100, len(ws.draws), max(20, 2**25 // ws.k**2))


def _pairs(g: ClassGeometry) -> int:
    """Ordered pairs of different known classes."""
    return g.known.size * (g.known.size - 1)


def _mean_distance(g: ClassGeometry) -> float:
    return float(np.sqrt(g.squared).sum()) / _pairs(g) if _pairs(g) else float("nan")


def _min_distance(g: ClassGeometry) -> float:
    return float(np.sqrt(_off_diagonal(g.squared, np.inf).min())) if _pairs(g) else float("nan")


def _off_diagonal(square: Doubles, value: float) -> Doubles:
    """A copy with `value` on the diagonal."""
    out = square.copy()
    np.fill_diagonal(out, value)
    return out


def _r2(g: ClassGeometry) -> float:
    """1 - (1 - avg_c ||mu_c||^2) / (1 - ||avg_c mu_c||^2)."""
    within, total = 1 - known_mean(g.center_square), 1 - g.grand_square
    return 1 - within / total if total > 0 else float("nan")


def _cdnv(g: ClassGeometry) -> float:
    """Mean over pairs i != j of (Var_i + Var_j) / (2 ||mu_i - mu_j||^2)."""
    between = _off_diagonal(g.squared, np.inf)
    if not _pairs(g) or not (between > 0).all():
        return float("nan")
    return float(g.variance[g.known] @ (1 / between).sum(1)) / _pairs(g)


def _fisher(g: ClassGeometry) -> float:
    """Mean ||mu_c - mu_G||^2 over mean tr(Sigma_c)."""
    within = known_mean(g.variance)
    return float(g.squared.mean() / 2 / within) if _pairs(g) and within > 0 else float("nan")


def davies_bouldin_terms(g: ClassGeometry) -> Doubles:
    """Each known class's worst (s_i + s_j) / d_ij; empty where two centers coincide or there is one class."""
    between = _off_diagonal(g.squared, np.inf)
    if not _pairs(g) or not (between > 0).all():
        return np.empty(0)
    radius = g.radius[g.known]
    ratio = (radius[:, None] + radius[None, :]) / np.sqrt(between)
    return np.asarray(ratio.max(1))


def _davies_bouldin(g: ClassGeometry) -> float:
    terms = davies_bouldin_terms(g)
    return float(terms.mean()) if terms.size else float("nan")


def _calinski_harabasz(g: ClassGeometry) -> float:
    """(sum n_c ||mu_c - mean||^2 / (K - 1)) / (sum n_c tr(Sigma_c) / (N - K)), rows of known classes."""
    size, k = g.size[g.known], g.known.size
    n = size.sum()
    within = float(size @ g.variance[g.known])
    if k < 2 or n <= k or within <= 0:
        return float("nan")
    between = float(size @ g.squared @ size) / (2 * n)  # = sum n_c ||mu_c - mean||^2
    return float((between / (k - 1)) / (within / (n - k)))


def centered_gram(g: ClassGeometry) -> Doubles:
    """(mu_i - mu_G)'(mu_j - mu_G) of the known classes, mu_G the mean of their centers; from the distances."""
    mean = g.squared.mean(1)
    return np.asarray((mean[:, None] + mean[None, :] - mean.mean() - g.squared) / 2)


def _equinorm(g: ClassGeometry) -> float:
    """Population std over mean of ||mu_c - mu_G||."""
    if g.known.size < 3:
        return float("nan")
    mean = g.squared.mean(1)
    lengths = np.sqrt(np.maximum(mean - mean.mean() / 2, 0))
    return float(lengths.std() / lengths.mean()) if lengths.mean() > 0 else float("nan")


def _equiangle(g: ClassGeometry) -> float:
    """Mean over pairs of |cos(mu_i - mu_G, mu_j - mu_G) + 1 / (K - 1)|."""
    if g.known.size < 3:
        return float("nan")
    gram = centered_gram(g)
    own = np.diag(gram)
    if not (own > 1e-14 * own.max()).all():
        return float("nan")
    length = np.sqrt(own)
    off = np.abs(gram / length[:, None] / length[None, :] + 1 / (g.known.size - 1))
    return float(off.sum() - np.trace(off)) / _pairs(g)


REDUCTIONS: dict[str, Callable[[ClassGeometry], float]] = {
    "intra_class_variance": lambda g: known_mean(g.variance),
    "inter_class_distance": _mean_distance,
    "inter_class_distance_min": _min_distance,
    "r2_separation": _r2,
    "cdnv": _cdnv,
    "fisher_ratio": _fisher,
    "davies_bouldin": _davies_bouldin,
    "calinski_harabasz": _calinski_harabasz,
    "nc2_equinorm": _equinorm,
    "nc2_equiangle": _equiangle,
}


def _replicates(ws: Workspace, given: bool) -> tuple[dict[str, Doubles], dict[str, Doubles]]:
    """Each reduction under `n_draws` bootstrap draws (only their spread is used) and under permuted labels.

    `given`: of rows as they were given, where they are kept so (`Workspace.space`).
    """
    given = given and ws.space is not ws.x

    def reduced(geometries: Iterable[ClassGeometry]) -> dict[str, Doubles]:
        found = np.array([[reduce(g) for reduce in REDUCTIONS.values()] for g in geometries])
        return dict(zip(REDUCTIONS, found.reshape(-1, len(REDUCTIONS)).T, strict=True))

    def compute() -> tuple[dict[str, Doubles], dict[str, Doubles]]:
        x = ws.raw if given else ws.x
        squares = rows.norms(x) ** 2

        def of(labels: IntArray, draws: resample.Counts | None = None) -> Iterable[ClassGeometry]:
            return classes.geometries(x, squares, labels, ws.k, draws)

        work = 4.0 * len(ws) * ws.dim + ws.k**2 * ws.dim
        nulls = (g for p in some_permuted(ws, work) for g in of(ws.labels[p]))
        draws = [] if values_only(ws) else of(ws.labels, ws.draws[: n_draws(ws)])
        return reduced(draws), reduced(nulls)

    return ws.once(("class geometry replicates", given), compute)


def from_geometry(
    ws: Workspace,
    name: str,
    per_class: Doubles | None = None,
    table: tuple[dict[str, float | str], ...] = (),
    given: bool = False,
    *,
    parameters: Mapping[str, Any] | None = None,
    note: str | None = None,
    undefined: str = "fewer than two classes have two samples, or two class centers coincide",
) -> MetricResult:
    """The answer `REDUCTIONS[name]` with its interval and null; Skip with the reason `undefined`."""
    geometry = ws.space_geometry if given else ws.geometry
    value = defined(REDUCTIONS[name](geometry), undefined)
    draws, nulls = (found[name] for found in _replicates(ws, given))
    return MetricResult(
        value,
        interval(resample.normal_interval(value, draws), "bootstrap standard error", draws.size),
        null(PERMUTED, nulls),
        per_class=per_class,
        table=table,
        parameters={"classes": int(geometry.known.size), **(parameters or {})},
        note=" ".join(filter(None, [note, singletons(ws)])) or None,
    )


def known_rows(ws: Workspace) -> IntArray | None:
    """The evaluated rows whose class has at least two of them; None for all."""
    few = np.bincount(ws.labels, minlength=ws.k)[ws.labels] < 2
    return np.flatnonzero(~few) if few.any() else None


def influence_interval(value: float, influence: Doubles, labels: IntArray, k: int) -> Interval | None:
    """Interval from how the value moves with the weight of each row (N,): the infinitesimal jackknife.

    SE^2 = sum over classes of n_c / (n_c - 1) * sum_i (psi_i - mean_c psi)^2, psi_i the derivative of the value in
    the share of row i: rows are resampled within their classes, to first order, at the price of one replicate.
    None when a row has no finite influence, or every class has one row.
    """
    size = np.bincount(labels, minlength=k)
    mean = np.bincount(labels, weights=influence, minlength=k) / np.maximum(size, 1)
    square = np.bincount(labels, weights=(influence - mean[labels]) ** 2, minlength=k)
    several = size > 1
    if not several.any() or not np.isfinite(square).all():
        return None
    se = float(np.sqrt((square[several] * size[several] / (size[several] - 1)).sum()))
    ends = (value - resample.Z95 * se, value + resample.Z95 * se)
    return interval(ends, "infinitesimal jackknife over samples", labels.size)
