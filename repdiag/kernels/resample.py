"""Resampling: bootstrap weights, and the two kinds of interval made from replicates.

*percentile* suits means of per-sample values and ranks. *normal* (value +- z * standard error of the
replicates) suits statistics that resampling itself shifts: the distance between two class means, for one,
grows when each mean gets noisier, so that its percentile interval need not even hold the value.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from repdiag.kernels.rows import Doubles, Ints

Counts = npt.NDArray[np.uint8]
Z95 = 1.959963984540054


def stratified_counts(groups: Ints, n: int, rng: np.random.Generator) -> Counts:
    """`n` bootstrap draws (n, N) uint8: how often each row is taken, resampling within each of `groups` (N,).

    Group sizes stay as they are, so no class can vanish from a draw. (A count above 255 has probability
    below 1e-500, so uint8 holds them.)
    """
    counts = np.empty((n, groups.size), np.uint8)
    order = np.argsort(groups, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        for some in range(0, n, max(1, 2**22 // rows.size)):  # bounds the drawn integers to 32 MiB
            b = min(n, some + max(1, 2**22 // rows.size)) - some
            drawn = rng.integers(rows.size, size=(b, rows.size)) + rows.size * np.arange(b)[:, None]
            taken = np.bincount(drawn.ravel(), minlength=b * rows.size).reshape(b, rows.size)
            counts[some : some + b, rows] = taken
    return counts


def weighted_means(values: Doubles, draws: Counts) -> Doubles:
    """Mean of `values` (N,) under each of the B draws -> (B,); NaN entries carry no weight."""
    known = np.isfinite(values)
    filled = np.where(known, values, 0.0)
    out = np.empty(len(draws))
    with np.errstate(invalid="ignore", divide="ignore"):
        for b, counts in enumerate(draws):
            weights = counts.astype(np.float64)
            out[b] = (weights @ filled) / (weights @ known)
    return out


def percentile_interval(replicates: Doubles, level: float = 0.95) -> tuple[float, float] | None:
    """Central `level` of the finite `replicates`; None when fewer than 20 are finite."""
    finite = replicates[np.isfinite(replicates)]
    if finite.size < 20:
        return None
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def normal_interval(value: float, replicates: Doubles) -> tuple[float, float] | None:
    """`value` +- 1.96 standard deviations of the finite `replicates`; None when fewer than 20 are finite."""
    finite = replicates[np.isfinite(replicates)]
    if finite.size < 20:
        return None
    margin = Z95 * float(finite.std(ddof=1))
    return value - margin, value + margin


def jackknife_interval(value: float, replicates: Doubles) -> tuple[float, float]:
    """Delete-a-group jackknife over G `replicates` (each without one of G equal groups): t interval.

    SE^2 = (G-1)/G * sum (theta_g - mean)^2. Far cheaper than a bootstrap where one replicate costs an
    eigendecomposition.
    """
    from scipy.stats import t

    g = replicates.size
    se = float(np.sqrt((g - 1) / g * np.sum((replicates - replicates.mean()) ** 2)))
    margin = float(t.ppf(0.975, g - 1)) * se
    return value - margin, value + margin


def mean_interval(values: Doubles) -> tuple[float, float]:
    """t interval of the mean of R >= 2 independent `values` (of R seeds, say)."""
    from scipy.stats import t

    margin = float(t.ppf(0.975, values.size - 1)) * float(values.std(ddof=1)) / np.sqrt(values.size)
    center = float(values.mean())
    return center - margin, center + margin


def summary(draws: Doubles) -> tuple[float, float]:
    """Mean and standard deviation (ddof 1; 0 for one draw) of null draws."""
    return float(draws.mean()), float(draws.std(ddof=1)) if draws.size > 1 else 0.0
