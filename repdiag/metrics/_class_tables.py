"""Crowding class by class and pair by pair: the tables of `crowding`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from repdiag.kernels.classes import ClassGeometry
from repdiag.kernels.rows import Doubles
from repdiag.metrics._answers import class_means
from repdiag.metrics._centers import nearest_centers
from repdiag.metrics._directional import pair_values
from repdiag.types import IntArray
from repdiag.workspace import Skip, Workspace


def _others(g: ClassGeometry) -> Doubles:
    """Distances between class centers (K, K), infinite where there is no other class."""
    return np.where(np.isfinite(g.distance), g.distance, np.inf)


def nearest_distance(g: ClassGeometry) -> Doubles:
    """Distance of each class center to the nearest other one (K,); NaN where there is none."""
    filled = _others(g).min(1)
    return np.where(np.isfinite(filled), filled, np.nan)


def center_errors(ws: Workspace) -> Doubles:
    """1 where a sample is nearer to another class's center than to its own's (N,), out of fold."""
    return np.asarray(nearest_centers(ws) != ws.labels, np.float64)


def class_columns(ws: Workspace) -> dict[str, npt.NDArray[np.generic]]:
    """Per-class crowding facts for the class table, each (K,); NaN for a class of fewer than two samples.

    `nearest_class` is the name of the class whose center lies nearest ("" where there is none), `cdnv_nearest` and
    `directional_cdnv_nearest` are those of the class and it, `same_class_cosine` the mean cosine of two different
    samples of the class: (n ||mu||^2 - mean ||x||^2) / (n - 1) of unit rows.
    """
    g = ws.geometry
    distance = nearest_distance(g)
    nearest, known = _others(g).argmin(1), np.isfinite(distance)
    names = np.asarray(ws.class_names, dtype=np.str_)
    square = g.variance + g.center_square  # mean ||x||^2
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = (g.size * g.center_square - square) / (g.size - 1)
    own = np.arange(ws.k)
    return {
        "intra_class_variance": g.variance,
        "same_class_cosine": cosine,
        "nearest_distance": distance,
        "cdnv_nearest": np.where(known, _pair_cdnv(ws.space_geometry, own, nearest), np.nan),
        "directional_cdnv_nearest": np.where(known, pair_values(ws)[0][own, nearest], np.nan),
        "nearest_center_error": class_means(ws, center_errors(ws)),
        "nearest_class": np.where(known, names[nearest], ""),
    }


def _pair_cdnv(g: ClassGeometry, a: IntArray, b: IntArray) -> Doubles:
    """(Var_a + Var_b) / (2 ||mu_a - mu_b||^2) of pairs of classes; NaN where their centers coincide."""
    squared = g.distance[a, b] ** 2
    squared[squared == 0] = np.nan
    return np.asarray((g.variance[a] + g.variance[b]) / (2 * squared))


def close_pairs(g: ClassGeometry, nearest: int = 10) -> tuple[IntArray, IntArray]:
    """Each class with its `nearest` nearest other classes, every pair (a < b) once, the closest first."""
    filled = _others(g)
    k = len(filled)
    take = min(nearest, k - 1)
    others = np.argsort(filled, axis=1, kind="stable")[:, :take] if take else np.empty((k, 0), np.int64)
    a, b = np.repeat(np.arange(k), take), others.ravel()
    finite = np.isfinite(filled[a, b])
    a, b = np.minimum(a, b)[finite], np.maximum(a, b)[finite]
    a, b = np.divmod(np.unique(a * k + b), k)
    order = np.argsort(filled[a, b], kind="stable")
    return a[order], b[order]


def pair_columns(ws: Workspace) -> dict[str, npt.NDArray[np.generic]]:
    """Which classes crowd which: one row per pair of classes of which one is among the other's ten nearest.

    `class_a`, `class_b` (in the order of the class names), `distance` of their centers on unit vectors (rows are
    sorted by it), `cdnv` and the cross-fitted `directional_cdnv` of the pair alone; `nearer_ab`, the share of a's
    samples that lie nearer to b's center than to any other, their own's included, and `nearer_ba`, both out of fold;
    `confused_ab`, the share of a's samples that the linear probe, out of fold, takes for b, and `confused_ba`: left
    out when no probe can be trained. At most 10 K rows; O(N + K^2 log K) time on top of what the crowding metrics
    and the probe have computed, O(K^2) memory. Without labels, or with one class, there are no columns.
    """
    if not ws.labeled:
        return {}
    a, b = close_pairs(ws.geometry)
    names = np.asarray(ws.class_names, dtype=np.str_)
    out: dict[str, npt.NDArray[np.generic]] = {
        "class_a": names[a],
        "class_b": names[b],
        "distance": ws.geometry.distance[a, b],
        "cdnv": _pair_cdnv(ws.space_geometry, a, b),
        "directional_cdnv": pair_values(ws)[0][a, b],
    }
    try:
        shares = _shares(ws, ws.probe.prediction)
        out |= {"confused_ab": shares[a, b], "confused_ba": shares[b, a]}
    except Skip:
        pass
    shares = _shares(ws, nearest_centers(ws))
    return out | {"nearer_ab": shares[a, b], "nearer_ba": shares[b, a]}


def _shares(ws: Workspace, taken_for: IntArray) -> Doubles:
    """Share of class i's samples that are taken for class j (K, K); NaN for a class without samples."""
    counts = np.bincount(ws.labels * ws.k + taken_for, minlength=ws.k**2).reshape(ws.k, ws.k)
    with np.errstate(invalid="ignore"):
        return np.asarray(counts / counts.sum(1, keepdims=True))
