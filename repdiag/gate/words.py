"""A gate's sentences: what was found, with the numbers, and why that passes, fails or decides nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from repdiag.gate.quantities import Quantity
from repdiag.gate.statistics import NO_CHANGE
from repdiag.gate.types import (
    EVERY,
    ClassValue,
    Kind,
    Limit,
    MetricValue,
    Outcome,
    Rule,
    SampleQuantile,
    SampleShare,
    Subject,
)
from repdiag.types import Direction

LISTED = 5  # classes that a sentence names


@dataclass(frozen=True)
class Told:
    """What a sentence needs to know of a decision; `low` and `high` are the bounds, infinite where there are none."""

    rule: Rule
    evidence: Outcome
    outcome: Outcome
    quantity: Quantity
    label: str
    low: float
    high: float
    needed: int | None
    claims: int
    broken: tuple[str, ...]
    open: tuple[str, ...]
    gaps: tuple[str, ...]
    now: float | None
    before: float | None


def subject(about: Subject) -> str:
    """What a rule is about, in words: what its name is made of where it has none."""
    if isinstance(about, MetricValue):
        return about.metric
    if isinstance(about, ClassValue):
        return f"{about.column} of " + ("every class" if about.name == EVERY else f"class {about.name}")
    if isinstance(about, SampleQuantile):
        return f"{100 * about.quantile:.6g} % quantile of {about.column}"
    assert isinstance(about, SampleShare)
    of = "number" if about.counted else "share"
    return f"{of} of samples with {about.column} {'above' if about.above else 'below'} {about.threshold:.6g}"


def name(about: Subject, limit: Limit) -> str:
    """The name of a rule that was given none."""
    return f"{subject(about)}: {limit}"


def reason(told: Told) -> str:
    """The decision in one sentence with its numbers."""
    said = f"{_what(told)} is {_value(told)}{_ends(told)}"
    limit, rule = told.rule.limit, told.rule
    word = "at least" if limit.at_least else "at most"
    goal = f"{word} {_number(told, limit.value)}"
    if told.evidence is Outcome.PASS:
        said += f": {goal}, as it must be"
    elif told.evidence is Outcome.FAIL:
        said += f": not {goal}"
        if len(told.broken) > 1:
            said += f"; {len(told.broken)} of {told.claims} classes break it ({_listed(told.broken)})"
    elif told.gaps:
        said += f" and must be {goal}, but {_gaps(told.gaps)}"
    elif not told.quantity.estimate.method:
        said += f" and must be {goal}: it has no interval, so that only confidence = 0 decides"
    else:
        said += f": too wide an interval to tell whether it is {goal}"
        if len(told.open) > 1:
            said += f"; so it is for {len(told.open)} of {told.claims} classes"
        if told.needed is not None:
            said += f"; about {told.needed:,} evaluated samples would tell if the value stayed"
        elif math.isclose(told.quantity.value, limit.value):
            said += "; the value lies on the limit, where no number of samples tells"
    if rule.confidence == 0:
        said += " (by the bare value: confidence = 0)"
    return said + policy(rule, told.evidence, told.outcome) + "."


def policy(rule: Rule, evidence: Outcome, outcome: Outcome) -> str:
    """What the rule made of an undetermined outcome, if anything."""
    return "" if evidence is outcome else f"; the rule counts undetermined as {rule.undetermined.value}"


def method(told: Told) -> str:
    """How it was decided, in one line."""
    if told.rule.confidence == 0:
        return "the bare value"
    said = told.quantity.estimate.method or "no interval"
    if told.claims > 1:
        said += f"; Holm's correction for {told.claims} classes"
    return said


def missing(rule: Rule, gaps: Sequence[str], outcome: Outcome) -> str:
    """Why nothing could be decided."""
    said = _gaps(gaps)
    return said[:1].upper() + said[1:] + policy(rule, Outcome.UNDETERMINED, outcome) + "."


def wrong_side(rule: Rule, direction: Direction) -> str:
    """What to beware of where a limit holds a number back from getting better; '' where it does not."""
    limit = rule.limit
    if direction is Direction.NEITHER or limit.at_least == (direction is Direction.HIGHER):
        return ""
    better = "higher" if direction is Direction.HIGHER else "lower"
    meant = "at_most" if limit.at_least else "at_least"
    what = "changes" if limit.kind is not Kind.VALUE else "values"
    return (
        f"{subject(rule.subject)} is better when {better}, so this limit turns good {what} away and lets bad ones "
        f"pass: {meant} is probably meant."
    )


def _what(told: Told) -> str:
    title = told.quantity.title
    if told.rule.limit.kind is Kind.CHANGE:
        return f"The change of {_lower(told.quantity.title)}"
    if told.rule.limit.kind is Kind.RELATIVE:
        return f"The relative change of {_lower(told.quantity.title)}"
    return title if _is_name(title) else title[:1].upper() + title[1:]


def _lower(title: str) -> str:
    """A title within a sentence; one that begins with a name stays as it is."""
    return title if _is_name(title) else title[:1].lower() + title[1:]


def _is_name(title: str) -> bool:
    """Whether the first word has capitals inside (RankMe, Q-Score, CDNV, kNN)."""
    first = title.split(" ")[0]
    return first[1:] != first[1:].lower()


def _value(told: Told) -> str:
    if not math.isfinite(told.quantity.value):
        return "among samples without a value"
    said = _number(told, told.quantity.value)
    unit = told.quantity.unit
    if unit not in ("", "share", "%") and unit not in told.quantity.title.lower():
        said += f" {unit}" if told.rule.limit.kind is not Kind.RELATIVE else ""
    if told.now is not None and told.before is not None:
        said += f" (from {told.before:.4g} to {told.now:.4g})"
    return said


def _ends(told: Told) -> str:
    method = told.quantity.estimate.method
    if told.rule.confidence == 0 or not method:
        return ""
    if method == NO_CHANGE:
        return f", {NO_CHANGE}"
    low, high = (_number(told, end) for end in (told.low, told.high))
    return f" [{low}, {high}]"


def _number(told: Told, value: float) -> str:
    """`value` with as many digits as it takes to tell what was found from the limit."""
    for digits in (4, 6, 9):
        found, limit = (_text(told, x, digits) for x in (told.quantity.value, told.rule.limit.value))
        if found != limit or told.quantity.value == told.rule.limit.value:
            break
    return _text(told, value, digits)


def _text(told: Told, value: float, digits: int) -> str:
    if not math.isfinite(value):
        return "unknown"
    if told.rule.limit.kind is Kind.RELATIVE:
        return f"{100 * value:+.{digits}g} %"
    if told.rule.limit.kind is Kind.CHANGE:
        return f"{value:+.{digits}g}"
    return f"{value:.{digits}g}" if abs(value) < 10**digits else f"{value:,.0f}"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more} more" if more > 0 else "")


def _gaps(gaps: Sequence[str]) -> str:
    more = len(gaps) - LISTED
    return "; ".join(gaps[:LISTED]) + (f"; and {more} more" if more > 0 else "")
