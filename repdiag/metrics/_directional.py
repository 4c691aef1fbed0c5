"""Variance of two classes along the line between their centers, cross-fitted (for `crowding`)."""

from __future__ import annotations

import numpy as np

from repdiag.kernels import classes, resample
from repdiag.kernels.rows import Doubles
from repdiag.metrics._class_geometry import n_draws
from repdiag.types import FloatArray, IntArray
from repdiag.workspace import Workspace

NULL_CLASSES = 200
"""Permuted classes are all alike, so that a null needs no more of them than this: K^2 is what costs."""

Halves = tuple[IntArray, IntArray]


def _halves(ws: Workspace) -> Halves:
    """The evaluated rows in two halves, each class dealt out alternately."""
    rng, side = ws.rng(6), np.empty(len(ws), np.int64)
    for own in classes.members(ws.labels, ws.k):
        shuffled = rng.permutation(own)
        side[shuffled] = np.arange(shuffled.size) % 2
    return np.flatnonzero(side == 0), np.flatnonzero(side == 1)


def _one_way(
    x: FloatArray, labels: IntArray, k: int, fit: IntArray, check: IntArray, draws: resample.Counts | None
) -> tuple[Doubles, Doubles]:
    """Centers from `fit`, variances from `check`: the pairs (K, K), NaN where undefined, and the mean over the
    known pairs as [value, one per draw...]."""
    means, _ = classes.class_means(x[fit], labels[fit], k)
    enough = np.bincount(labels[check], minlength=k) >= 2
    spread, distance = classes.directional_spread(x[check], labels[check], means)
    distance[~enough] = np.nan
    distance[:, ~enough] = np.nan
    rows = classes.members(labels[check], k)
    n = 1 if draws is None else 1 + len(draws)
    pairs, total = np.full((k, k), np.nan), np.zeros(n)
    for c, t in spread:
        others = np.isfinite(distance[c])
        if not others.any():
            continue
        weight = np.ones((n, len(t)))
        if draws is not None:
            weight[1:] = draws[:, check[rows[c]]]
        weight /= np.maximum(weight.sum(1, keepdims=True), 1)
        ratio = (weight @ t**2 - (weight @ t) ** 2) / distance[c] ** 2
        pairs[c] = ratio[0]
        total += ratio[:, others].sum(1)
    count = int(np.isfinite(distance).sum())
    both = pairs + pairs.T
    return both, 2 * total / count if count else np.full(n, np.nan)


def pair_values(ws: Workspace) -> tuple[Doubles, Doubles]:
    """Directional CDNV of each pair of classes (K, K) and its mean as [value, bootstrap replicates...]."""

    def compute() -> tuple[Doubles, Doubles]:
        one, two = _halves(ws)
        draws = ws.draws[: n_draws(ws)]
        (a, total_a), (b, total_b) = (
            _one_way(ws.space, ws.labels, ws.k, fit, check, draws) for fit, check in ((one, two), (two, one))
        )
        return (a + b) / 2, (total_a + total_b) / 2

    return ws.once("directional cdnv", compute)


def permuted_values(ws: Workspace) -> list[float]:
    """The mean directional CDNV under permuted labels; above NULL_CLASSES classes over as many drawn at random."""
    rng = ws.rng(60)
    one, two = _halves(ws)
    found = []
    for p in ws.permuted:
        labels, k, rows = ws.labels[p], ws.k, (one, two)
        if k > NULL_CLASSES:
            chosen = np.full(k, -1)
            chosen[rng.permutation(k)[:NULL_CLASSES]] = np.arange(NULL_CLASSES)
            labels, k = chosen[labels], NULL_CLASSES
            rows = (one[labels[one] >= 0], two[labels[two] >= 0])
        ways = (rows, rows[::-1])
        found.append(
            float(np.mean([_one_way(ws.space, labels, k, fit, check, None)[1][0] for fit, check in ways]))
        )
    return found
