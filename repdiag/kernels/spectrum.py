"""Spectra of second moments, with one replicate per left-out group of rows for the jackknife."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from repdiag.kernels.rows import Doubles, Floats, blocks


def grouped_moments(x: Floats, groups: int) -> tuple[Doubles, Doubles, Doubles]:
    """X'X (G, D, D), column sums (G, D) and counts (G,) of `groups` interleaved groups of rows; float64."""
    d = x.shape[1]
    second, first, count = np.zeros((groups, d, d)), np.zeros((groups, d)), np.zeros(groups)
    for g in range(groups):
        part = x[g::groups]
        for block in blocks(len(part), d * 8):
            rows = part[block].astype(np.float64)
            second[g] += rows.T @ rows
            first[g] += rows.sum(0)
        count[g] = len(part)
    return second, first, count


def eigenvalues(second: Doubles, first: Doubles | None = None, count: float = 1.0) -> Doubles:
    """Eigenvalues, largest first, clipped at 0, of X'X (D, D), or of the covariance when `first` is given."""
    import torch

    matrix = second
    if first is not None:
        mean = first / count
        matrix = second / count - np.outer(mean, mean)
    values = torch.linalg.eigvalsh(torch.from_numpy(np.ascontiguousarray(matrix))).numpy()
    return np.asarray(np.maximum(values[::-1], 0.0))


def leave_one_out(
    second: Doubles, first: Doubles, count: Doubles
) -> Iterator[tuple[Doubles, Doubles, float]]:
    """The summed moments without group g, for each g."""
    total, sums, n = second.sum(0), first.sum(0), count.sum()
    for g in range(len(count)):
        yield total - second[g], sums - first[g], float(n - count[g])
