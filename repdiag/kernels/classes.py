"""Class means and what follows from them, for many relabelings or resamplings of the same rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from repdiag.kernels.rows import Doubles, Floats, Ints, blocks


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


@dataclass(frozen=True)
class ClassGeometry:
    """Where K classes of rows lie: all that follows from the class means and mean squared norms.

    `variance` (K,): tr(Sigma_c) = mean ||x||^2 - ||mu_c||^2, population form. `distance` (K, K):
    ||mu_i - mu_j||, NaN on the diagonal. `center_square` (K,): ||mu_c||^2, `grand_square`:
    ||mean_c mu_c||^2. Classes that are absent or have fewer than two rows are NaN throughout.
    """

    variance: Doubles
    distance: Doubles
    center_square: Doubles
    grand_square: float


def geometry(
    x: Floats, squares: Doubles, labels: Ints, k: int, weights: npt.NDArray[Any] | None = None
) -> ClassGeometry:
    """The ClassGeometry of rows `x` (N, D) whose squared norms are `squares` (N,)."""
    means, total = class_means(x, labels, k, weights)
    means[total < 2] = np.nan
    weighted = squares if weights is None else squares * weights
    with np.errstate(invalid="ignore", divide="ignore"):
        square = np.bincount(labels, weights=weighted, minlength=k) / total
    gram = means @ means.T
    center = np.diag(gram).copy()
    squared = center[:, None] + center[None, :] - 2 * gram
    distance = np.sqrt(np.maximum(squared, 0))
    np.fill_diagonal(distance, np.nan)
    known = np.flatnonzero(np.isfinite(center))
    grand = float(gram[np.ix_(known, known)].mean()) if known.size else float("nan")
    return ClassGeometry(np.maximum(square - center, 0), distance, center, grand)


def directional_spread(x: Floats, labels: Ints, means: Doubles) -> tuple[list[Doubles], Doubles]:
    """Each row's coordinate along the unit vectors from its class's mean to every other mean.

    `means` (K, D) should come from *other* rows than `x` (cross-fitting): a direction fitted to the same
    rows hides the variance along it. Returns per class an (n_c, K) array (NaN where undefined, and at the
    class itself) and the distances (K, K).
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
    projected = x @ safe.T
    spread = []
    for c in range(len(means)):
        own = projected[labels == c].astype(np.float64)
        spread.append((own[:, [c]] - own) / distance[c])
    return spread, distance
