"""What is found when encoders are held against one of them: frozen, plain numbers, nothing that renders."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from repdiag.comparison.types import Comparison, Difference
from repdiag.types import Interval, Table


@dataclass(frozen=True)
class Likeness:
    """How alike two encoders' embeddings of the same `n` images are; high is alike, neither good nor bad.

    `cka` is debiased linear CKA, `neighbors` the mean share of each image's `k` nearest others that both spaces have,
    which is `chance` = k / (n - 1) for unrelated ones. Intervals are over images, None below 80 of them.
    """

    encoder: str
    against: str
    n: int
    cka: float
    cka_interval: Interval | None
    neighbors: float
    neighbors_interval: Interval | None
    k: int
    chance: float


@dataclass(frozen=True)
class Crowding:
    """What one measure of crowding says of an encoder and the one that it is held against.

    `word` is "more crowded", "less crowded" or "not told apart", by the metric's direction and the interval of the
    difference. `relative` and `relative_other` are value / null, where the null permutes labels: 1 where classes mean
    nothing, whatever the space's scale; `relative_word` says the same of their ratio, "" where there is no such null.
    """

    difference: Difference
    word: str
    null: float | None = None
    null_other: float | None = None
    relative: float | None = None
    relative_other: float | None = None
    relative_word: str = ""


@dataclass(frozen=True)
class Fall:
    """Where a metric first lies below its running best by more than the interval of the difference.

    `best` and `epoch` are epochs: of the best until then, and of the first that is worse. `back`: the first epoch after
    it that is no longer told apart from that best, or better; None where there is none.
    """

    difference: Difference
    best: float
    epoch: float
    back: float | None


@dataclass(frozen=True)
class Best:
    """The checkpoint that one rule prefers: a metric, or the mean rank. `as_good` are those not told apart from it."""

    rule: str
    title: str
    encoder: str
    epoch: float
    as_good: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trajectory:
    """The checkpoints of one training run, in its order.

    `values` has a row per checkpoint and metric (encoder, epoch, metric, value, low, high), `ranks` one per checkpoint
    (encoder, epoch, a rank per label-free metric, mean_rank; 1 is best; empty where none was measured). `followed` are
    the metrics that were searched for a fall. `numbered`: the epochs were given or read off the names; else they are
    1, 2, 3, ...
    """

    encoders: tuple[str, ...]
    epochs: tuple[float, ...]
    numbered: bool
    values: Table
    ranks: Table
    best: tuple[Best, ...]
    falls: tuple[Fall, ...]
    followed: tuple[str, ...]

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in pairwise(self.epochs))
        if not (rising and all(map(math.isfinite, self.epochs)) and len(self.epochs) == len(self.encoders)):
            raise ValueError("epochs rise, one for each checkpoint")


@dataclass(frozen=True)
class SideBySide:
    """Encoders against one of them (`comparison.against`).

    `comparison` holds all of them; its verdict is that of `comparison.subject`, the first (of a trajectory the last)
    of the others. `details` has one comparison of two for each of the others, with its own verdict, samples and
    classes. `samples` and `classes` have one row per common sample and class with all encoders side by side: id,
    label, correct:NAME, newly_right:NAME, newly_wrong:NAME (against `against`), q_score:NAME; class, n,
    accuracy:NAME, delta:NAME, low:NAME, high:NAME. `pairs` has a row per encoder and pair of classes (`class_pairs`).
    `likeness_missing` says why there is no likeness, "" where there is.
    """

    comparison: Comparison
    details: tuple[Comparison, ...]
    samples: Table
    classes: Table
    pairs: Table
    likeness: tuple[Likeness, ...] = ()
    likeness_missing: str = ""
    likeness_about: str = ""
    crowding: tuple[Crowding, ...] = ()
    crowding_notes: tuple[str, ...] = ()
    trajectory: Trajectory | None = None
    reports: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.details:
            raise ValueError("at least two encoders are compared")
