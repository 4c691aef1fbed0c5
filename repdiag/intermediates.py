"""What a workspace hands out: folds, the probe's answers, activations; and how a metric says that it cannot."""

from __future__ import annotations

from dataclasses import dataclass

from repdiag.types import BoolArray, DoubleArray, IntArray


class Skip(Exception):
    """Raised by a metric that cannot be computed on this workspace; becomes `Skipped(reason)`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Fold:
    """Learn from `train` (row numbers of the reference part), answer for `test` (of the evaluated part)."""

    train: IntArray
    test: IntArray


@dataclass(frozen=True)
class Probe:
    """Out-of-fold answers of the linear probe for each evaluated row."""

    probabilities: DoubleArray  # (N, K)
    prediction: IntArray  # (N,)
    correct: BoolArray  # (N,)
    l2: float
    validation: tuple[tuple[float, float], ...]  # (l2, validation accuracy) along the path


@dataclass(frozen=True)
class Activation:
    """Which features fire, after L2 normalization (Q-Score's definitions, `science` section 1)."""

    frequency: DoubleArray  # A_j in percent, over the reference rows (D,)
    selected: BoolArray  # S (D,)
    low: float  # the frequencies at the two percentiles
    high: float
