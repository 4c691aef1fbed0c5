"""Class means and what follows from them, for many relabelings or resamplings of the same rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from repdiag.kernels.rows import Doubles, Floats, Ints, blocks

COINCIDENT = 1e-7
"""Centers nearer to each other than this share of the longest center's length coincide, and rows nearer than
this to their center lie on it: float32 rows do not tell them apart."""


def class_means(
    x: Floats, labels: Ints, k: int, weights: npt.NDArray[Any] | None = None
) -> tuple[Doubles, Doubles]:
    """Weighted mean of each class: ((K, D), total weight (K,)); a class without weight has mean NaN.

    Sums run in float64 over blocks of rows, so a memory-mapped `x` (N, D) is read once.
    """
    from scipy.sparse import csr_matrix

    w = np.ones(len(x)) if weights is None else weights.astype(np.float64)
    sums = np.zeros((k, x.shape[1]))
    for block in blocks(len(x), x.shape[1] * 12):
        rows = np.arange(block.stop - block.start)
        choose = csr_matrix((w[block], (labels[block], rows)), shape=(k, rows.size))
        sums += choose @ x[block].astype(np.float64)
    total = np.asarray(np.bincount(labels, weights=w, minlength=k), np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums / total[:, None], total


def members(labels: Ints, k: int) -> list[Ints]:
    """Row numbers of each of the K classes, ascending."""
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.cumsum(np.bincount(labels, minlength=k))[:-1])


@dataclass(frozen=True)
class ClassGeometry:
    """Where K classes of rows lie: all that follows from the class means and how far rows lie from them.

    `variance` (K,): tr(Sigma_c) = mean ||x||^2 - ||mu_c||^2, population form. `distance` (K, K):
    ||mu_i - mu_j||, NaN on the diagonal. `center_square` (K,): ||mu_c||^2, `grand_square`:
    ||mean_c mu_c||^2. `radius` (K,): mean ||x - mu_c||. `size` (K,): rows (or their weights).
    Classes that are absent or have fewer than two rows are NaN throughout, and of size 0.
    """

    variance: Doubles
    distance: Doubles
    center_square: Doubles
    grand_square: float
    radius: Doubles
    size: Doubles

    @cached_property
    def known(self) -> Ints:
        """The classes that have at least two rows."""
        return np.flatnonzero(np.isfinite(self.center_square))

    @cached_property
    def squared(self) -> Doubles:
        """Squared distances between the centers of the known classes, zeros on the diagonal."""
        every = self.known.size == len(self.distance)
        between = np.square(self.distance if every else self.distance[np.ix_(self.known, self.known)])
        np.fill_diagonal(between, 0)
        return between


def geometry(
    x: Floats, squares: Doubles, labels: Ints, k: int, weights: npt.NDArray[Any] | None = None
) -> ClassGeometry:
    """The ClassGeometry of rows `x` (N, D) whose squared norms are `squares` (N,)."""
    return next(geometries(x, squares, labels, k, None if weights is None else weights[None]))


def geometries(
    x: Floats, squares: Doubles, labels: Ints, k: int, draws: npt.NDArray[Any] | None = None
) -> Iterator[ClassGeometry]:
    """The ClassGeometry of the rows, or one under each of the weights `draws` (B, N).

    All draws of a class are taken in one product of matrices, in float64; the means of as many draws as fit
    128 MiB are held at a time, and for each such batch the rows are read twice.
    """
    rows = members(labels, k)
    n = 1 if draws is None else len(draws)
    step = max(1, 2**24 // max(1, k * x.shape[1]))
    for start in range(0, n, step):
        some = None if draws is None else draws[start : start + step]
        count = 1 if some is None else len(some)
        means, radius = np.empty((count, k, x.shape[1])), np.full((count, k), np.nan)
        total = np.zeros((count, k))
        square = np.full((count, k), np.nan)
        for c, own in enumerate(rows):
            weights = np.ones((count, own.size)) if some is None else some[:, own].astype(np.float64)
            total[:, c] = weights.sum(1)
            if not total[:, c].all():
                means[:, c] = np.nan
                continue
            means[:, c], radius[:, c] = _center(x, own, weights / total[:, [c]])
            square[:, c] = weights @ squares[own] / total[:, c]
        for b in range(count):
            yield _assemble(means[b], total[b], square[b], radius[b])


def _center(x: Floats, own: Ints, shares: Doubles) -> tuple[Doubles, Doubles]:
    """Means (B, D) of the rows `own` under `shares` (B, n) that sum to 1, and mean distances (B,) to them.

    Rows are taken relative to one point among them, so that a tight class far from zero keeps its digits.
    """
    parts = list(blocks(own.size, x.shape[1] * 16))
    base = x[own[parts[0]]].mean(0, dtype=np.float64)
    relative = [x[own[parts[0]]] - base] if len(parts) == 1 else None

    def part(i: int) -> Doubles:
        return relative[i] if relative is not None else np.asarray(x[own[parts[i]]] - base)

    shift = np.zeros((len(shares), x.shape[1]))
    for i, p in enumerate(parts):
        shift += shares[:, p] @ part(i)
    radius = np.zeros(len(shares))
    length = (shift**2).sum(1)
    for i, p in enumerate(parts):
        rows = part(i)
        squared = np.einsum("nd,nd->n", rows, rows) - 2 * (shift @ rows.T) + length[:, None]
        radius += (shares[:, p] * np.sqrt(np.maximum(squared, 0))).sum(1)
    return base + shift, radius


def _assemble(means: Doubles, total: Doubles, square: Doubles, radius: Doubles) -> ClassGeometry:
    """The ClassGeometry from class means (K, D), their weights, mean squared norms and radii; `means` is used up."""
    k = len(means)
    known = np.flatnonzero(total >= 2)
    few = total < 2
    center = np.where(few, np.nan, (means**2).sum(1))
    variance = np.where(few, np.nan, square - center)
    variance[variance < COINCIDENT**2 * center] = 0
    size = np.where(few, 0, total)
    distance = np.full((k, k), np.nan)
    if not known.size:
        return ClassGeometry(center.copy(), distance, center, float("nan"), center.copy(), size)
    chosen = means if known.size == k else means[known]
    grand = chosen.mean(0)
    chosen -= grand
    gram = chosen @ chosen.T
    own = np.diag(gram).copy()
    gram *= -2
    gram += own[:, None]
    gram += own[None, :]
    gram[gram < COINCIDENT**2 * float(center[known].max())] = 0
    np.sqrt(gram, out=gram)
    np.fill_diagonal(gram, np.nan)
    if known.size == k:
        distance = gram
    else:
        distance[np.ix_(known, known)] = gram
    return ClassGeometry(
        variance=variance,
        distance=distance,
        center_square=center,
        grand_square=float(grand @ grand),
        radius=np.where(few, np.nan, radius),
        size=size,
    )


def directional_spread(
    x: Floats, labels: Ints, means: Doubles
) -> tuple[Iterator[tuple[int, Doubles]], Doubles]:
    """Each row's coordinate along the unit vectors from its class's mean to every other mean.

    `means` (K, D) should come from *other* rows than `x` (cross-fitting): a direction fitted to the same
    rows hides the variance along it. Returns the distances (K, K), and, one after the other, each class that
    has rows with an (n_c, K) array (NaN where undefined, and at the class itself).
    """
    known = np.isfinite(means[:, 0])
    safe = np.where(known[:, None], means, 0).astype(np.float32)
    squared = (safe.astype(np.float64) ** 2).sum(1)
    gaps = squared[:, None] + squared[None, :] - 2 * (safe.astype(np.float64) @ safe.T.astype(np.float64))
    distance = np.sqrt(np.maximum(gaps, 0))
    distance[~known] = np.nan
    distance[:, ~known] = np.nan
    np.fill_diagonal(distance, np.nan)
    distance[distance == 0] = np.nan

    def each() -> Iterator[tuple[int, Doubles]]:
        waiting: list[tuple[int, Ints]] = []
        rows = members(labels, len(means))
        for c, own in enumerate(rows):
            waiting += [(c, own)] * bool(own.size)
            if sum(o.size for _, o in waiting) < 512 and c + 1 < len(rows):
                continue  # one product for several small classes
            if not waiting:
                continue
            projected = x[np.concatenate([o for _, o in waiting])] @ safe.T
            at = 0
            for i, o in waiting:
                own_part = projected[at : at + o.size].astype(np.float64)
                at += o.size
                yield i, (own_part[:, [i]] - own_part) / distance[i]
            waiting = []

    return each(), distance
