"""Probabilities of a yes-no outcome: learned from a few columns, and judged by what then happened."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from repdiag.kernels.resample import Z95
from repdiag.kernels.rows import Doubles, Ints

Bools = npt.NDArray[np.bool_]


class Quantiles:
    """Maps a score to its place among the scores learned from: (rank - 1/2) / n, ties in the middle.

    The places of the learned scores are spread evenly over (0, 1); they come back centered and of unit variance, in
    (-sqrt 3, sqrt 3), so that one strength of a penalty suits all scores, whatever their unit and tails.
    """

    def __init__(self, learned: Doubles) -> None:
        self._sorted = np.sort(learned)

    def __call__(self, score: Doubles) -> Doubles:
        """The places of `score` (N,) as (N,) float64."""
        n = self._sorted.size
        below = np.searchsorted(self._sorted, score, "left")
        upto = np.searchsorted(self._sorted, score, "right")
        return np.asarray(((below + upto) / (2 * n) - 0.5) * np.sqrt(12))


@dataclass(frozen=True)
class Logistic:
    """P(y = 1 | x) = sigmoid(x @ weights + bias)."""

    weights: Doubles  # (S,)
    bias: float

    def __call__(self, x: Doubles) -> Doubles:
        """Probabilities (N,) of rows (N, S)."""
        return sigmoid(x @ self.weights + self.bias)


def sigmoid(logit: Doubles) -> Doubles:
    """1 / (1 + exp(-logit)) without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logit)))


def fit_logistic(x: Doubles, y: Bools, l2: float, start: Logistic | None = None, steps: int = 30) -> Logistic:
    """The minimum of mean log loss + l2/2 |weights|^2 (the bias is free) by Newton's method, from `start`.

    x (N, S) float64 with N >> S; each step costs O(N S^2). A step that does not lower the loss is halved.
    """
    n, width = x.shape
    design = np.column_stack([x, np.ones(n)])
    penalty = np.append(np.full(width, l2), 1e-9)
    rate = float(np.clip(y.mean(), 1e-9, 1 - 1e-9))
    beta = np.append(np.zeros(width), np.log(rate / (1 - rate)))
    if start is not None:
        beta = np.append(start.weights, start.bias)
    sign = np.where(y, -1.0, 1.0)

    def loss(b: Doubles) -> float:
        return float(np.logaddexp(0, sign * (design @ b)).mean() + 0.5 * (penalty * b * b).sum())

    now = loss(beta)
    for _ in range(steps):
        p = sigmoid(design @ beta)
        gradient = design.T @ (p - y) / n + penalty * beta
        hessian = (design * (p * (1 - p) / n)[:, None]).T @ design + np.diag(penalty + 1e-12)
        step = np.linalg.solve(hessian, gradient)
        for _ in range(20):
            after = loss(beta - step)
            if after <= now:
                break
            step = step / 2
        else:
            break
        beta, gain, now = beta - step, now - after, after
        if gain < 1e-12:
            break
    return Logistic(beta[:-1], float(beta[-1]))


@dataclass(frozen=True)
class Monotone:
    """A rising curve through `knots`, from (0, 0) to (1, 1): what a probability really stood for."""

    knots: tuple[Doubles, Doubles]

    def __call__(self, probability: Doubles) -> Doubles:
        """Probabilities (N,) in, probabilities out, in the same strict order: 2 % of the slope is the input's own."""
        return np.asarray(0.98 * np.interp(probability, *self.knots) + 0.02 * probability)


def fit_monotone(probability: Doubles, outcome: Bools) -> Monotone:
    """Isotonic regression of the outcome, its blocks joined by straight lines between their centers.

    Joined, and anchored at (0, 0) and (1, 1), so that few equal values arise where there were none. Each block's share
    is drawn by one pseudo-observation to the overall rate, so that none is 0 or 1.
    """
    from sklearn.isotonic import IsotonicRegression

    level = IsotonicRegression().fit_transform(probability, outcome.astype(np.float64))
    block = np.unique(level, return_inverse=True)[1].reshape(-1)
    n = np.bincount(block)
    center = np.bincount(block, weights=probability) / n
    share = (np.bincount(block, weights=outcome) + outcome.mean()) / (n + 1)
    share = np.maximum.accumulate(share)
    return Monotone((np.concatenate([[0], center, [1]]), np.concatenate([[0], share, [1]])))


def log_losses(probability: Doubles, outcome: Bools) -> Doubles:
    """-log P(what happened) of each sample (N,), probabilities kept 1e-12 away from 0 and 1."""
    p = np.clip(probability, 1e-12, 1 - 1e-12)
    return np.asarray(-np.where(outcome, np.log(p), np.log(1 - p)))


def wilson(successes: float, n: int, z: float = Z95) -> tuple[float, float]:
    """Wilson's interval of a share: `successes` of n >= 1 (Wilson 1927)."""
    share, extra = successes / n, z * z / n
    center = (share + extra / 2) / (1 + extra)
    margin = z * float(np.sqrt(share * (1 - share) / n + extra / (4 * n))) / (1 + extra)
    return max(0.0, center - margin), min(1.0, center + margin)


def equal_bins(score: Doubles, bins: int) -> Ints:
    """The number of each sample's bin of (nearly) equal count, from the lowest score up (N,).

    Equal scores share a bin, so there may be fewer bins than asked for.
    """
    ordered = np.sort(score)
    inner = np.arange(1, bins) * score.size // bins
    edges = np.unique(ordered[inner])  # a bin ends before the score at its edge
    found = np.searchsorted(edges, score, "right")
    return np.asarray(np.unique(found, return_inverse=True)[1].reshape(-1), np.int64)


@dataclass(frozen=True)
class Bin:
    """One bin of a reliability curve: n samples, their mean probability, the share where it happened."""

    predicted: float
    observed: float
    low: float  # Wilson's interval of `observed`
    high: float
    n: int


def reliability(probability: Doubles, outcome: Bools, bins: int) -> tuple[Bin, ...]:
    """The reliability curve over bins of equal count."""
    number = equal_bins(probability, bins)
    n = np.bincount(number)
    predicted = np.bincount(number, weights=probability) / n
    happened = np.bincount(number, weights=outcome)
    return tuple(
        Bin(float(p), float(h / m), *wilson(float(h), int(m)), int(m))
        for p, h, m in zip(predicted, happened, n, strict=True)
    )


def calibration_error(number: Ints, gap: Doubles, weights: npt.NDArray[np.uint8] | None = None) -> float:
    """Expected calibration error: the mean over samples of |mean gap of the sample's bin|.

    `number` (N,) is each sample's bin, `gap` (N,) probability minus outcome: sum_b |sum of gap in b| / N.
    """
    weighted = gap if weights is None else gap * weights
    total = gap.size if weights is None else int(weights.sum())
    return float(np.abs(np.bincount(number, weights=weighted)).sum() / total)
