"""What a comparison of encoders found: frozen, plain numbers, nothing that renders or trains."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from repdiag.types import Direction, Interval, Report, Table


class Effect(enum.Enum):
    """What a paired difference says."""

    HELPED = "helped"
    NO_EVIDENCE = "no evidence"
    HURT = "hurt"


@dataclass(frozen=True)
class Scored:
    """One encoder as it was scored: its arm ("before", "control", "qscore", ...), the seed, and its report.

    `labels_of_samples` are those of report.samples' rows. `correct` maps a classifier ("linear probe", "kNN", "nearest
    center") to a boolean per evaluated sample, in the order of the report's samples: what is compared in pairs.
    `training` says what the run did (epochs, stopped by, seconds, ...); empty for the untouched encoder.
    """

    arm: str
    seed: int | None
    report: Report
    correct: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    log: Table = field(default_factory=lambda: Table({}))


@dataclass(frozen=True)
class Difference:
    """One quantity in two arms, on the same images: mean over seeds, after minus before.

    `interval` is that of the difference, paired, or None where only one seed and no per-sample values tell.
    `by_seed` holds each seed's difference. `effect` weighs the interval against zero in the metric's direction.
    """

    metric: str
    title: str
    unit: str
    direction: Direction
    subject: str  # the arm that is judged
    against: str  # the arm it is compared with
    value: float
    other: float
    delta: float
    interval: Interval | None
    by_seed: tuple[float, ...]
    effect: Effect
    primary: bool = False

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.value, self.other, self.delta, *self.by_seed))):
            raise ValueError(f"{self.metric}: differences are of finite numbers")


@dataclass(frozen=True)
class Comparison:
    """Arms against one another. `arms` are in reporting order, the untouched encoder first.

    `effect` and `reason` are the verdict of `subject` against `against` in the primary measure. `samples` has one row
    per evaluated sample (id, label, Q-Score and correctness per arm), `curves` one per epoch and run,
    `skipped` says what could not be compared and why.
    """

    created: str
    subject: str
    against: str
    effect: Effect
    reason: str
    arms: tuple[Scored, ...]
    differences: tuple[Difference, ...]
    samples: Table
    curves: Table
    skipped: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)

    def of(self, arm: str) -> tuple[Scored, ...]:
        """The scored encoders of one arm, by seed."""
        return tuple(one for one in self.arms if one.arm == arm)

    def difference(self, metric: str, subject: str, against: str) -> Difference | None:
        """The difference of `metric` between two arms, None where it was not made."""
        pairs = (d for d in self.differences if d.metric == metric)
        return next((d for d in pairs if (d.subject, d.against) == (subject, against)), None)
