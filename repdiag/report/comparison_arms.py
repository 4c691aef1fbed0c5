"""The arms of a comparison as every renderer reads them: their names, roles and marks, and a metric's values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from repdiag.comparison.types import Comparison, Difference, Effect, Question, Scored
from repdiag.report.comparison_words import effect_word
from repdiag.report.grids import text
from repdiag.types import MetricResult, MetricSpec, Skipped

MARKS = 8  # how many arms the style sheet tells apart; further ones begin anew
MAX_MAIN = 8  # encoders that every table of the page has side by side
MAX_LANES = 5  # differences of one metric that are drawn


@dataclass(frozen=True)
class Arm:
    """One arm: its runs in the order of seeds, and what it is in the question asked.

    `role` is "before", "against" (usually the control), "subject" or "" for any other. `mark` is the number of its
    color, dash and shape. `fixed`: an encoder that is compared as it is, nothing that was trained.
    """

    name: str
    role: str
    mark: int
    runs: tuple[Scored, ...]
    fixed: bool = False

    @property
    def shown(self) -> str:
        """Its name, fit to print."""
        return text(self.name)

    @property
    def title(self) -> str:
        """Its name, and "after" beside that of the subject."""
        return f"after ({self.shown})" if self.role == "subject" and not self.fixed else self.shown

    @property
    def stopped(self) -> tuple[str, ...]:
        """Why its runs ended before they were meant to, once for each reason."""
        found = (stopped_by(run.training) for run in self.runs)
        return tuple(dict.fromkeys(text(reason) for reason in found if reason))

    @property
    def collapsed(self) -> int:
        """How many of its runs were stopped because the features collapsed."""
        return sum(stopped_by(run.training).lower().startswith("collapse") for run in self.runs)


def stopped_by(training: Mapping[str, Any]) -> str:
    """Why a run ended early, "" where it did not or nothing is known."""
    return str(training.get("stopped_by") or "")


@dataclass(frozen=True)
class Reading:
    """A comparison with its arms sorted out."""

    comparison: Comparison

    @property
    def fixed(self) -> bool:
        """Whether the arms are encoders as they are: no seeds, no "before" and "after"."""
        return self.comparison.question is Question.ENCODERS

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """All arms: the untouched encoder, what the subject is held against, the subject, then the others.

        The first arm of the comparison is "before" unless it takes one of the other two parts; of encoders as they
        are none is.
        """
        names = list(dict.fromkeys(one.arm for one in self.comparison.arms))
        roles = {self.comparison.against: "against", self.comparison.subject: "subject"}
        if names and names[0] not in roles and not self.fixed:
            roles = {names[0]: "before", **roles}
        ordered = [name for name in roles if name in names] + [name for name in names if name not in roles]
        marks = {"before": 0, "against": 1, "subject": 2}
        free = iter(range(3, 3 + len(names)))
        return tuple(
            Arm(
                name,
                roles.get(name, ""),
                marks[roles[name]] if name in roles else next(free) % MARKS,
                self.comparison.of(name),
                self.fixed,
            )
            for name in ordered
        )

    @cached_property
    def main(self) -> tuple[Arm, ...]:
        """Before, control and after, as far as they are there; of encoders the first `MAX_MAIN`."""
        if self.fixed:
            given = [run.arm for run in self.comparison.arms]
            kept = {arm.name for arm in self.arms[:MAX_MAIN]}  # with both that the question is about
            return tuple(sorted((a for a in self.arms if a.name in kept), key=lambda a: given.index(a.name)))
        return tuple(arm for arm in self.arms if arm.role)

    @cached_property
    def others(self) -> tuple[Arm, ...]:
        """The ablations: arms with no part in the question."""
        return () if self.fixed else tuple(arm for arm in self.arms if not arm.role)

    @cached_property
    def stopped(self) -> tuple[Arm, ...]:
        """Arms that ended early and of which the reason says nothing."""
        reason = self.comparison.reason
        return tuple(arm for arm in self.arms if arm.stopped and f"{arm.name} ended early" not in reason)

    @cached_property
    def one_seed(self) -> bool:
        """Whether an arm that was trained has one seed only: an interval then covers the choice of images at most."""
        return any(len(arm.runs) == 1 and arm.runs[0].seed is not None for arm in self.main)

    def arm(self, name: str) -> Arm | None:
        """The arm called `name`."""
        return next((arm for arm in self.arms if arm.name == name), None)

    @cached_property
    def before(self) -> str | None:
        """The name of the untouched encoder's arm."""
        return next((arm.name for arm in self.arms if arm.role == "before"), None)

    @cached_property
    def specs(self) -> dict[str, MetricSpec]:
        """All metrics of all reports by name, in the order in which they were run."""
        return {m.spec.name: m.spec for one in self.comparison.arms for m in one.report.measurements}

    @cached_property
    def _differences(self) -> dict[tuple[str, str, str], Difference]:
        return {(d.metric, d.subject, d.against): d for d in self.comparison.differences}

    @cached_property
    def _values(self) -> dict[tuple[str, str], float]:
        found: dict[tuple[str, str], float] = {}
        for d in self.comparison.differences:
            found.setdefault((d.subject, d.metric), d.value)
            found.setdefault((d.against, d.metric), d.other)
        return found

    def difference(self, metric: str, subject: str, against: str | None) -> Difference | None:
        """As `Comparison.difference`, found at once."""
        return None if against is None else self._differences.get((metric, subject, against))

    def pairs(self, metric: str) -> list[Difference]:
        """Subject against control, subject against before, control against before: those that were made.

        Of encoders as they are: the subject, then the others, against the one that all are held against.
        """
        subject, against = self.comparison.subject, self.comparison.against
        asked: tuple[tuple[str, str | None], ...]
        if self.fixed:
            others = (arm.name for arm in self.arms if not arm.role)
            asked = ((subject, against), *((name, against) for name in others))[:MAX_LANES]
        else:
            asked = ((subject, against), (subject, self.before), (against, self.before))
        found = (self.difference(metric, *pair) for pair in dict.fromkeys(asked))
        return [one for one in found if one is not None]

    @cached_property
    def primary(self) -> str | None:
        """The metric that the verdict is about, None where there is none (no labels)."""
        judged = (d for d in self.comparison.differences if d.primary)
        return next((d.metric for d in judged), None)

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """Metrics with a difference between subject and control, in the order of the reports."""
        pair = (self.comparison.subject, self.comparison.against)
        made = dict.fromkeys(d.metric for d in self.comparison.differences if (d.subject, d.against) == pair)
        return (*(name for name in self.specs if name in made), *(n for n in made if n not in self.specs))

    @cached_property
    def telling(self) -> tuple[str, ...]:
        """The metrics to read first: the primary one, the headline ones, then those that changed."""
        subject, against = self.comparison.subject, self.comparison.against

        def rank(metric: str) -> int:
            found = self.difference(metric, subject, against)
            told = found is not None and found.effect is not Effect.NO_EVIDENCE
            moved = found is not None and effect_word(found, self.fixed) == "moved"
            return (
                0
                if metric == self.primary
                else 1
                if self.headline(metric)
                else 2
                if told
                else 3
                if moved
                else 4
            )

        return tuple(sorted((name for name in self.metrics if rank(name) < 4), key=rank))

    def family(self, metric: str) -> str:
        """The family of a metric, "other" for a quantity that is no registered metric."""
        return self.specs[metric].family if metric in self.specs else "other"

    def headline(self, metric: str) -> bool:
        """Whether a metric is one of those that everybody reads."""
        return metric == self.primary or (metric in self.specs and self.specs[metric].headline)

    def results(self, arm: Arm, metric: str) -> list[tuple[int | None, MetricResult]]:
        """A metric's results in the runs of an arm, each with its seed."""
        found = ((run.seed, run.report.value(metric)) for run in arm.runs)
        return [(seed, result) for seed, result in found if result is not None]

    def value(self, arm: Arm, metric: str) -> float | None:
        """The mean over an arm's seeds: as the differences have it (on the images compared), else of the reports."""
        if (arm.name, metric) in self._values:
            return self._values[arm.name, metric]
        values = [result.value for _, result in self.results(arm, metric)]
        return float(np.mean(values)) if values else None


def multiplicity(reading: Reading) -> str:
    """What many differences mean together: sentences for every place that lists them."""
    if reading.one_seed:
        return (
            "One seed cannot tell a method from its luck: intervals cover the choice of images at most, and nothing"
            " here is called an effect."
        )
    levels = [d.interval.level for d in reading.comparison.differences if d.interval is not None]
    chance = ""
    if levels and max(levels) < 1:
        chance = f", so about 1 in {1 / (1 - max(levels)):.0f} seems to move by chance alone"
    if reading.primary is None:
        return f"None of these decides, and they are not corrected for their number{chance}."
    return f"Only the primary measure decides; the others are not corrected for their number{chance}."


def skipped_reasons(reading: Reading) -> list[tuple[str, list[str]]]:
    """What could not be compared: titles by reason, from the comparison and then from the reports."""
    reasons: dict[str, list[str]] = {}
    named: set[str] = set(reading.metrics)
    for name, reason in reading.comparison.skipped.items():
        spec = reading.specs.get(name)
        reasons.setdefault(text(reason), []).append(text(name) if spec is None else spec.title)
        named.add(name)
    for one in reading.comparison.arms:
        for m in one.report.measurements:
            if m.spec.name not in named and isinstance(m.outcome, Skipped):
                reasons.setdefault(text(m.outcome.reason), []).append(m.spec.title)
                named.add(m.spec.name)
    return list(reasons.items())
