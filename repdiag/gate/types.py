"""A gate: rules on a report, and what they came to. Frozen, plain; nothing here decides anything.

A rule is a claim about the truth behind a report ("the accuracy is at least 0.8", "the change against the baseline is
at least -0.01"). PASS means that even the worse one-sided confidence bound keeps the claim, FAIL that even the better
one breaks it, UNDETERMINED that the limit lies between the two. To tell these three apart is ours
(docs/reference/gate-rules.md).
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from repdiag.types import Interval

CONFIDENCE = 0.95
EVERY = "*"
"""The class name that stands for all of them."""


class Outcome(enum.Enum):
    """What a rule, or the whole gate, came to."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    UNDETERMINED = "undetermined"


class Kind(enum.Enum):
    """What a limit is held against: the value, its change, or the change over the baseline's absolute value."""

    VALUE = "value"
    CHANGE = "change"
    RELATIVE = "relative change"


@dataclass(frozen=True)
class Limit:
    """`value` is the least (`at_least`) or the most (not `at_least`) that the claim allows."""

    kind: Kind
    at_least: bool
    value: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError(f"a limit is a finite number, not {self.value}")

    def __str__(self) -> str:
        word = "at least" if self.at_least else "at most"
        if self.kind is Kind.VALUE:
            return f"{word} {self.value:.6g}"
        if self.kind is Kind.CHANGE:
            return f"change {word} {self.value:+.6g}"
        return f"relative change {word} {100 * self.value:+.6g} %"


@dataclass(frozen=True)
class MetricValue:
    """The value of a metric."""

    metric: str


@dataclass(frozen=True)
class ClassValue:
    """A column of the classes (or a metric's value by class) for one class, or for `EVERY` one of them."""

    name: str
    column: str


@dataclass(frozen=True)
class SampleQuantile:
    """The `quantile` (0 to 1) of a column of the samples."""

    column: str
    quantile: float

    def __post_init__(self) -> None:
        if not 0 < self.quantile < 1:
            raise ValueError(f"a quantile lies between 0 and 1, not at {self.quantile}")


@dataclass(frozen=True)
class SampleShare:
    """How many samples have `column` above (or below) `threshold`: a share, or a `counted` number of samples."""

    column: str
    above: bool
    threshold: float
    counted: bool

    def __post_init__(self) -> None:
        if not math.isfinite(self.threshold):
            raise ValueError(f"a threshold is a finite number, not {self.threshold}")


Subject = MetricValue | ClassValue | SampleQuantile | SampleShare


@dataclass(frozen=True)
class Rule:
    """One claim. `where` says where it was read, for messages.

    `confidence` is that of each one-sided bound, from 0.5 to below 1; 0 means that the bare value decides.
    `undetermined` is what becomes of the rule when its limit lies inside the interval; a missing value never passes.
    """

    name: str
    subject: Subject
    limit: Limit
    confidence: float = CONFIDENCE
    undetermined: Outcome = Outcome.UNDETERMINED
    where: str = ""

    def __post_init__(self) -> None:
        if not (self.confidence == 0 or 0.5 <= self.confidence < 1):
            raise ValueError(f"a confidence is 0 or from 0.5 to below 1, not {self.confidence}")


@dataclass(frozen=True)
class Rules:
    """The rules of one file, in its order; there is at least one, and their names differ."""

    rules: tuple[Rule, ...]
    source: str = ""

    def __post_init__(self) -> None:
        if not self.rules:
            raise ValueError("a gate has at least one rule")
        if len({rule.name for rule in self.rules}) < len(self.rules):
            raise ValueError("two rules have one name")

    def __len__(self) -> int:
        return len(self.rules)


@dataclass(frozen=True)
class RuleResult:
    """What one rule came to.

    `evidence` is what the bounds say, `outcome` what became of it: they differ where the rule says what undetermined
    shall count as. `value` is what the limit was held against (for a change rule the change; for `EVERY` class that of
    the class that is nearest to breaking the rule, named in `label`), None where there is none. `interval` holds both
    one-sided bounds: with confidence c it is a 2c - 1 interval (`level`). `margin` is the distance from the limit to
    the value, positive where the value is on the good side, in the value's unit. `samples_needed` is about how many
    evaluated samples would settle an undetermined rule if the value stayed what it is; None where more samples would
    not help or nobody can tell. `method` says how it was decided, `reason` all of it in one sentence, `note` what to
    beware of. `now` and `before` are the two values of a change. `unit` is that of `value`.
    """

    rule: Rule
    outcome: Outcome
    evidence: Outcome
    reason: str
    value: float | None = None
    interval: Interval | None = None
    margin: float | None = None
    samples_needed: int | None = None
    method: str = ""
    now: float | None = None
    before: float | None = None
    unit: str = ""
    label: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        numbers = (self.value, self.margin, self.now, self.before)
        if not all(x is None or math.isfinite(x) for x in numbers):
            raise ValueError(f"{self.rule.name}: results are finite numbers or None")
        if self.samples_needed is not None and (
            self.evidence is not Outcome.UNDETERMINED or self.samples_needed < 1
        ):
            raise ValueError(f"{self.rule.name}: only what is undetermined needs samples")


@dataclass(frozen=True)
class GateResult:
    """All rules' results, in the order of the rules.

    `report` and `baseline` name what was judged and against what (encoder, dataset, samples, created, ...); `baseline`
    is None where none was given. Nothing here depends on when or where the gate ran: equal inputs give equal results.
    """

    results: tuple[RuleResult, ...]
    report: Mapping[str, Any] = field(default_factory=dict)
    baseline: Mapping[str, Any] | None = None
    rules_source: str = ""
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.results:
            raise ValueError("a gate has at least one rule")

    @property
    def outcome(self) -> Outcome:
        """FAIL if any rule fails, else UNDETERMINED if any is, else PASS."""
        found = {result.outcome for result in self.results}
        return next(o for o in (Outcome.FAIL, Outcome.UNDETERMINED, Outcome.PASS) if o in found)

    def count(self, outcome: Outcome) -> int:
        """How many rules came to `outcome`."""
        return sum(result.outcome is outcome for result in self.results)
