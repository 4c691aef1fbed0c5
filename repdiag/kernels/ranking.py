"""How well a score ranks positives above negatives: AUROC, average precision, precision among the first shares."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from repdiag.kernels.rows import Doubles

Bools = npt.NDArray[np.bool_]
Weights = npt.NDArray[np.floating] | npt.NDArray[np.uint8]


def auroc(score: Doubles, positive: Bools, weights: Weights | None = None) -> float:
    """P(score of a positive > that of a negative) + half of ties; NaN when one side is empty. (N,) each."""
    return float(Ranking(score, positive).auroc(weights))


def average_precision(score: Doubles, positive: Bools, weights: Weights | None = None) -> float:
    """Area under precision-recall as sum (R_n - R_{n-1}) P_n over distinct scores, high scores first."""
    return float(Ranking(score, positive).average_precision(weights))


class Ranking:
    """Scores sorted once, then evaluated under many sample weights (bootstrap draws) in O(N) each."""

    def __init__(self, score: Doubles, positive: Bools) -> None:
        self.order = np.argsort(-score, kind="stable")
        ordered = score[self.order]
        self.ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), score.size - 1)
        self.positive = positive[self.order].astype(np.float64)

    def _cumulative(self, weights: Weights | None) -> tuple[Doubles, Doubles]:
        w = np.ones(self.order.size) if weights is None else weights[self.order].astype(np.float64)
        true = np.cumsum(w * self.positive)[self.ends]
        return true, np.cumsum(w)[self.ends] - true

    def auroc(self, weights: Weights | None = None) -> float:
        """Weighted AUROC; NaN when all weight is on one side."""
        true, false = self._cumulative(weights)
        if true[-1] == 0 or false[-1] == 0:
            return float("nan")
        height = np.append(0, true)
        area = np.sum(np.diff(np.append(0, false)) * (height[1:] + height[:-1]) / 2)
        return float(area / (true[-1] * false[-1]))

    def average_precision(self, weights: Weights | None = None) -> float:
        """Weighted average precision; NaN without positives."""
        true, false = self._cumulative(weights)
        if true[-1] == 0:
            return float("nan")
        total = true + false
        precision = np.divide(true, total, out=np.zeros_like(true), where=total > 0)
        return float(np.sum(np.diff(np.append(0, true)) * precision) / true[-1])

    def resample(self, draws: Iterable[npt.NDArray[np.uint8]]) -> Doubles:
        """(AUROC, average precision) under each draw of weights: (B, 2)."""
        return np.array([(self.auroc(w), self.average_precision(w)) for w in draws])

    def precision(self, shares: Doubles, weights: Weights | None = None) -> Doubles:
        """Share of positives among the first of each of `shares` (in (0, 1]) of the weight, high scores first (M,).

        Where equal scores lie across the border, the mean over the ways to break the tie; NaN without any weight.
        """
        true, false = self._cumulative(weights)
        total = true + false
        if total[-1] == 0:
            return np.full(len(shares), np.nan)
        target = np.asarray(shares) * total[-1]
        return np.asarray(np.interp(target, np.append(0, total), np.append(0, true)) / target)

    def resampled_precision(self, shares: Doubles, draws: Iterable[npt.NDArray[np.uint8]]) -> Doubles:
        """`precision` under each draw of weights: (B, M)."""
        return np.array([self.precision(shares, w) for w in draws])
