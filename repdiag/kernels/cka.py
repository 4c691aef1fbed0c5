"""How alike two embeddings of the same samples are: debiased linear CKA and shared nearest neighbors.

Both look at which samples lie near which, not at single features: a rotation, a shift (of CKA) or another scale of
either space changes nothing, and the two may have different numbers of features.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from repdiag.kernels import neighbors, resample, rows
from repdiag.kernels.rows import Doubles, Floats

Numbers = npt.NDArray[np.float32] | npt.NDArray[np.float64]
GROUPS = 20


def linear_cka(x: Numbers, y: Numbers) -> float:
    """Debiased linear centered kernel alignment of `x` (N, D) and `y` (N, D'), whose rows are the same N >= 4 samples.

        CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)),   K = X X', L = Y Y' with their diagonals set to 0
        HSIC(K, L) = [tr(K L) + 1'K1 1'L1 / ((N-1)(N-2)) - 2/(N-2) 1'K L 1] / (N (N-3))

    1: the same geometry up to rotation, shift and scale. About 0: independent, whatever N and D are; it can be a
    little below 0, and lies in [-1, 1]. High is alike, which is neither good nor bad. The plain CKA has another HSIC,
    which for independent features with D much above N tends to 1 and not to 0.

    A few directions of large variance decide it: two encoders that differ in all the others can have 0.99. Read it
    beside `neighbor_overlap`.

    Accumulated in float64; N x N is never built: tr(K L) = |X'Y|^2 - sum_i k_ii l_ii and so on. O(N (D + D')^2) time,
    O((D + D')^2) memory. Source: Kornblith et al. 2019 (status published); the unbiased HSIC is that of Song et al.
    2012, eq. 5, used for CKA by Nguyen et al. 2021 (status published; neither was re-read). Raises ValueError for
    other shapes, fewer than 4 samples, values that are not finite, and features that do not vary.
    """
    _check(x, y, 4)
    return _cka(*(_total(a, b) for a, b in _asked(_prepared(x), _prepared(y))))


def linear_cka_interval(x: Numbers, y: Numbers, seed: int = 0) -> tuple[float, tuple[float, float] | None]:
    """`linear_cka` and a 95 % interval over the samples: a jackknife that leaves out one of 20 random groups.

    Not a bootstrap, in which copies of a sample would be counted as neighbors of it: what debiasing takes out would
    come back in. None below 80 samples. The interval is cut to [-1, 1]. Two passes: twice the time of `linear_cka`.
    """
    _check(x, y, 4)
    one, other = _prepared(x), _prepared(y)
    pairs = _asked(one, other)
    totals = [_total(a, b) for a, b in pairs]
    value, n = _cka(*totals), len(x)
    if n < 4 * GROUPS:
        return value, None
    left_out = []
    for rows_ in np.array_split(np.random.default_rng([seed, 7]).permutation(n), GROUPS):
        some = np.sort(rows_)
        left_out.append(_cka(*(t - _total(a, b, some) for t, (a, b) in zip(totals, pairs, strict=True))))
    low, high = resample.jackknife_interval(value, np.array(left_out))
    return value, (max(-1.0, low), min(1.0, high))


def neighbor_overlap(x: Floats, y: Floats, k: int = 10, device: str = "cpu") -> Doubles:
    """Share of each sample's `k` nearest others in `x` (N, D) that are so in `y` (N, D') too -> (N,) float64.

        o_i = |kNN_x(i) and kNN_y(i)| / k,   nearest by cosine

    1: both have the same neighbors. The mean over samples is k / (N - 1) for unrelated spaces. Source: the mutual kNN
    alignment of Huh et al. 2024 (status published; the paper was not re-read). Invariant to rotation and scale of
    either space, not to shifts. O(N^2 (D + D')) time in tiles, O(N k) memory. Raises ValueError for other shapes and
    k outside 1 .. N - 1.
    """
    _check(x, y, 2)
    if not 1 <= k < len(x):
        raise ValueError(f"k = {k} neighbors among {len(x)} samples")
    one, other = (neighbors.others(rows.unit(np.asarray(f, np.float32)), k, device)[1] for f in (x, y))
    shared = np.empty(len(x))
    for block in rows.blocks(len(x), k * k):
        shared[block] = (one[block][:, :, None] == other[block][:, None, :]).any(2).sum(1)
    return shared / k


# ----------------------------------------------------------------------------------------------- sums over samples


@dataclass(frozen=True)
class _Rows:
    """Features as they are, with what brings them to mean 0 and mean square 1 (CKA does not notice, floats do)."""

    features: Numbers
    mean: Doubles
    scale: float

    def blocks(self, chosen: npt.NDArray[np.int64] | None, width: int) -> Iterator[Doubles]:
        n = len(self.features) if chosen is None else chosen.size
        for block in rows.blocks(n, width * 8):
            part = self.features[block] if chosen is None else self.features[chosen[block]]
            yield (np.asarray(part, np.float64) - self.mean) / self.scale


@dataclass(frozen=True)
class _Sums:
    """What HSIC(K, L) is made of, each a sum over samples, so that samples can be taken out again."""

    n: int
    cross: Doubles  # X'Y
    x: Doubles  # sum of x_i
    y: Doubles
    lx: Doubles  # sum of l_ii x_i
    ky: Doubles  # sum of k_ii y_i
    k: float  # sum of k_ii
    l: float  # noqa: E741 -- as in the formula
    kl: float

    def __sub__(self, other: _Sums) -> _Sums:
        return _Sums(
            self.n - other.n, self.cross - other.cross, self.x - other.x, self.y - other.y, self.lx - other.lx,
            self.ky - other.ky, self.k - other.k, self.l - other.l, self.kl - other.kl,
        )  # fmt: skip

    def hsic(self) -> float:
        n = self.n
        trace = float(np.einsum("ij,ij->", self.cross, self.cross)) - self.kl
        ones_k, ones_l = float(self.x @ self.x) - self.k, float(self.y @ self.y) - self.l
        between = float(self.x @ self.cross @ self.y - self.x @ self.lx - self.y @ self.ky) + self.kl
        return (trace + ones_k * ones_l / ((n - 1) * (n - 2)) - 2 * between / (n - 2)) / (n * (n - 3))


def _check(x: Numbers, y: Numbers, least: int) -> None:
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
        raise ValueError(f"expected two arrays (N, D) and (N, D') of one N, not {x.shape} and {y.shape}")
    if len(x) < least:
        raise ValueError(f"{len(x)} samples are too few: at least {least}")


def _prepared(x: Numbers) -> _Rows:
    total, square = np.zeros(x.shape[1]), 0.0
    for block in rows.blocks(len(x), x.shape[1] * 8):
        total += np.asarray(x[block], np.float64).sum(0)
    mean = total / len(x)
    for block in rows.blocks(len(x), x.shape[1] * 8):
        square += float(((np.asarray(x[block], np.float64) - mean) ** 2).sum())
    if not math.isfinite(square):
        raise ValueError("features must be finite")
    if square <= 1e-20 * len(x) * float(mean @ mean):
        raise ValueError("features do not vary")
    return _Rows(x, mean, math.sqrt(square / len(x)))


def _asked(one: _Rows, other: _Rows) -> tuple[tuple[_Rows, _Rows], ...]:
    return (one, other), (one, one), (other, other)


def _total(one: _Rows, other: _Rows, chosen: npt.NDArray[np.int64] | None = None) -> _Sums:
    d, e = one.features.shape[1], other.features.shape[1]
    cross, x, lx, y, ky = np.zeros((d, e)), np.zeros(d), np.zeros(d), np.zeros(e), np.zeros(e)
    n, k_sum, l_sum, kl = 0, 0.0, 0.0, 0.0
    width = d + e
    for a, b in zip(one.blocks(chosen, width), other.blocks(chosen, width), strict=True):
        k, diagonal = np.einsum("nd,nd->n", a, a), np.einsum("nd,nd->n", b, b)
        cross += a.T @ b
        x, y, lx, ky = x + a.sum(0), y + b.sum(0), lx + diagonal @ a, ky + k @ b
        n, k_sum, l_sum, kl = n + len(a), k_sum + k.sum(), l_sum + diagonal.sum(), kl + float(k @ diagonal)
    return _Sums(n, cross, x, y, lx, ky, float(k_sum), float(l_sum), kl)


def _cka(between: _Sums, one: _Sums, other: _Sums) -> float:
    square = one.hsic() * other.hsic()
    if square <= 0:
        raise ValueError("features do not vary enough to be compared")
    return float(np.clip(between.hsic() / math.sqrt(square), -1.0, 1.0))
