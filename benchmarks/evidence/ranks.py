"""Spearman's rho between a metric and accuracy over few encoders, honestly uncertain.

With nine encoders one odd encoder moves rho a lot, and neighbors on the ladder differ by less than their own noise.
The interval has both: encoders are drawn with replacement, and each draw adds normal noise to both coordinates, with
the standard error of the metric's and of the accuracy's own interval. (The values hold their noise already, so this
errs towards 0; an interval is widened to hold rho itself.) The permutation p is exact up to seven encoders and takes
no noise into account. Fewer than five encoders are not ranked at all.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.stats import rankdata

from benchmarks.evidence.reading import Answer

FEWEST = 5
DRAWS = 2000
PERMUTATIONS = 20_000


@dataclass(frozen=True)
class Rank:
    """Spearman's rho over `n` encoders, its 95 % interval, and its two-sided permutation p."""

    rho: float
    low: float
    high: float
    p: float
    n: int

    @property
    def sign(self) -> int:
        """1 or -1 where the interval excludes 0 and p is below 0.05, else 0."""
        if self.p >= 0.05 or self.low <= 0 <= self.high:
            return 0
        return 1 if self.rho > 0 else -1


def spearman(x: Sequence[Answer], y: Sequence[Answer]) -> Rank | None:
    """Rank agreement of `x` and `y`; None for too few encoders or where one of them is the same for all."""
    a, b = np.array([v.value for v in x]), np.array([v.value for v in y])
    if a.size < FEWEST or np.unique(a).size < 2 or np.unique(b).size < 2:
        return None
    rng = np.random.default_rng(0)
    drawn = rng.integers(a.size, size=(DRAWS, a.size))
    noise = rng.standard_normal((2, DRAWS, a.size))
    rho = _correlation(a[None], b[None])[0]
    draws = _correlation(
        a[drawn] + noise[0] * np.array([v.error for v in x])[drawn],
        b[drawn] + noise[1] * np.array([v.error for v in y])[drawn],
    )
    low, high = np.quantile(np.append(draws[np.isfinite(draws)], rho), [0.025, 0.975])
    ranks = _centered(a[None])[0]
    by_chance = np.abs(_centered(b[None])[0][_orders(a.size)] @ ranks)
    reached = np.abs(_centered(b[None])[0] @ ranks) * (1 - 1e-9)
    exact = len(by_chance) == math.factorial(a.size)
    p = (np.sum(by_chance >= reached) + (not exact)) / (len(by_chance) + (not exact))
    return Rank(float(rho), float(min(low, rho)), float(max(high, rho)), float(p), a.size)


@cache
def _orders(n: int) -> np.ndarray:
    """All orders of n things, or many random ones."""
    if n <= 7:
        return np.array(list(itertools.permutations(range(n))))
    return np.random.default_rng(1).permuted(np.tile(np.arange(n), (PERMUTATIONS, 1)), axis=1)


def _centered(values: np.ndarray) -> np.ndarray:
    ranks = rankdata(values, axis=1)
    return np.asarray(ranks - ranks.mean(1, keepdims=True))


def _correlation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Spearman's rho of each row, NaN where a row is constant."""
    a, b = _centered(x), _centered(y)
    size = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    return np.asarray(np.divide((a * b).sum(1), size, out=np.full(len(a), np.nan), where=size > 0))
