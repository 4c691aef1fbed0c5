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


class Question(enum.Enum):
    """What a comparison is about: whether a way of training helped, or which of some encoders is better.

    METHOD: arms are ways to train (before, control, after) and have seeds; the answer is to hold for other seeds.
    ENCODERS: arms are the very encoders that are asked about; the answer is about these files and has no seeds.
    """

    METHOD = "method"
    ENCODERS = "encoders"


@dataclass(frozen=True)
class Scored:
    """One encoder as it was scored: its arm ("before", "control", "qscore", ...), the seed, and its report.

    `correct` maps a classifier ("linear probe", "kNN", "nearest center") to (N,) float64 in the order of the report's
    samples: 1 where it is right, 0 where it is wrong, NaN where the label is not known. `training` says what the run
    did (epochs, steps, stopped_by, seconds, ...; a `stopped_by` that is not empty means that it ended early), `log` is
    its log, one row per epoch; both are empty for an encoder that was not trained here. `seed` None: there is but one.
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

    `value` and `other` are of the samples that all arms have. `interval` is that of the difference (its `method` says
    which noise it covers), None where nothing tells how far it may be off. `by_seed` holds each seed's difference, one
    where neither arm has seeds. `effect` weighs the interval against zero in the metric's direction; it is NO_EVIDENCE
    where the metric has no better direction, and where a trained arm has one seed only.
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

    `effect` and `reason` are the verdict of `subject` against `against` in the primary measure; the other differences
    describe, and are not corrected for their number. `samples` has one row per sample that all arms evaluated (id,
    label, correct:ARM as the share of seeds that are right, newly_right:OTHER and newly_wrong:OTHER of the subject,
    q_score:ARM), `classes` one per class (class, n, accuracy:ARM, and the subject's delta, low, high against
    `against`; empty without labels), `curves` one per epoch and run (arm, seed, and the logs' columns). `skipped` maps
    metrics to why they could not be compared, in all arms or in those that it names.
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
    classes: Table = field(default_factory=lambda: Table({}))
    question: Question = Question.METHOD

    def of(self, arm: str) -> tuple[Scored, ...]:
        """The scored encoders of one arm, by seed."""
        return tuple(one for one in self.arms if one.arm == arm)

    def difference(self, metric: str, subject: str, against: str) -> Difference | None:
        """The difference of `metric` between two arms, None where it was not made."""
        pairs = (d for d in self.differences if d.metric == metric)
        return next((d for d in pairs if (d.subject, d.against) == (subject, against)), None)
