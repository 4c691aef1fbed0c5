"""Spectra of second moments, with one replicate per left-out group of rows for the jackknife.

Eigenvalues come from the smaller of two symmetric matrices: X'X (D, D), or XX' (N, N) where there are fewer
rows than features. Both have the same ones above zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from repdiag.kernels.rows import Doubles, Floats, Ints, blocks


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
    matrix = second
    if first is not None:
        mean = first / count
        matrix = second / count - np.outer(mean, mean)
    return _eigenvalues(matrix)


def leave_one_out(
    second: Doubles, first: Doubles, count: Doubles
) -> Iterator[tuple[Doubles, Doubles, float]]:
    """The summed moments without group g, for each g."""
    total, sums, n = second.sum(0), first.sum(0), count.sum()
    for g in range(len(count)):
        yield total - second[g], sums - first[g], float(n - count[g])


def _eigenvalues(matrix: Doubles) -> Doubles:
    import torch

    values = torch.linalg.eigvalsh(torch.from_numpy(np.ascontiguousarray(matrix))).numpy()
    return np.asarray(np.maximum(values[::-1], 0.0))


@dataclass(frozen=True)
class Tall:
    """Rows (N, D) with N >= D, as the moments of their groups."""

    second: Doubles
    first: Doubles
    count: Doubles

    def spectra(self, centered: bool) -> Iterator[Doubles]:
        """As `Wide.spectra`."""
        whole = (self.second.sum(0), self.first.sum(0), float(self.count.sum()))
        parts = leave_one_out(self.second, self.first, self.count) if len(self.count) > 1 else ()
        for second, first, n in (whole, *parts):
            yield eigenvalues(second, first if centered else None, n)


@dataclass(frozen=True)
class Wide:
    """Rows (N, D) with N < D, as their inner products (N, N), and the group of each row (N,)."""

    products: Doubles
    group: Ints

    def spectra(self, centered: bool) -> Iterator[Doubles]:
        """Eigenvalues, largest first, of X'X (or of the covariance): of all rows, then without each group.

        There are min(N, D) of them; the others of the D are zero.
        """
        groups = int(self.group.max()) + 1
        for g in (-1, *(range(groups) if groups > 1 else ())):
            keep = self.group != g
            inner = self.products[np.ix_(keep, keep)]
            if centered:
                inner = inner - inner.mean(0) - inner.mean(1)[:, None] + inner.mean()
                inner /= len(inner)
            yield _eigenvalues(inner)


def moments(x: Floats, groups: int) -> Tall | Wide:
    """What the spectra of `x` (N, D) and of its `groups` interleaved groups' complements follow from."""
    n, d = x.shape
    if n >= d:
        return Tall(*grouped_moments(x, groups))
    products = np.zeros((n, n))
    for block in blocks(d, n * 8):  # by columns: the features are the long side
        columns = x[:, block].astype(np.float64)
        products += columns @ columns.T
    return Wide(products, np.arange(n) % groups)
