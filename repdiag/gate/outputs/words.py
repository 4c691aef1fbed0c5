"""Results of a gate in words and numbers: one rule for the terminal, Markdown and JUnit XML."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from repdiag.gate.types import GateResult, Kind, Limit, Outcome, RuleResult
from repdiag.report.numbers import decimals
from repdiag.report.text import sentence

WORDS = {Outcome.PASS: "pass", Outcome.FAIL: "FAIL", Outcome.UNDETERMINED: "undetermined"}
"""How outcomes are written: a failure stands out without color."""

MOST_DIGITS = 12
TIMES = ("created", "timing")
"""What says when a report was made: left out, as two reports of equal inputs differ in it."""


@dataclass(frozen=True)
class Line:
    """One rule's result as text: `value` has its interval beside it ("" where there is no value)."""

    outcome: Outcome
    word: str
    name: str
    value: str
    limit: str
    reason: str
    note: str

    @property
    def short(self) -> str:
        """Value and limit in one phrase."""
        return f"{self.value or 'no value'}, limit {self.limit}"


def line(result: RuleResult) -> Line:
    """`result` as text. Numbers have as many decimals as it takes to tell each of them from the limit."""
    scale = _Scale(result.rule.limit.kind, result.unit)
    value = "" if result.value is None else _value(result, result.value, scale)
    reason = sentence(result.reason)
    if result.outcome is not result.evidence:  # the outcome is the rule's own choice, not what was found
        reason += f" That is {WORDS[result.evidence]}, which this rule counts as {WORDS[result.outcome]}."
    return Line(
        outcome=result.outcome,
        word=WORDS[result.outcome],
        name=result.rule.name,
        value=value,
        limit=limit_text(result.rule.limit, scale),
        reason=reason,
        note=sentence(result.note),
    )


def headline(result: GateResult) -> str:
    """ "1 of 4 rules fails, 2 are undetermined." """
    n = len(result.results)
    if result.outcome is Outcome.PASS:
        return "The rule passes." if n == 1 else f"All {n} rules pass."
    fail, open_ = result.count(Outcome.FAIL), result.count(Outcome.UNDETERMINED)
    said = []
    of = f" of {n} {'rule' if n == 1 else 'rules'}"
    if fail:
        said.append(f"{fail}{of} {'fails' if fail == 1 else 'fail'}")
    if open_:
        said.append(f"{open_}{'' if said else of} {'is' if open_ == 1 else 'are'} undetermined")
    return ", ".join(said) + "."


def named(facts: Mapping[str, Any]) -> str:
    """What was judged, from the plain facts in a `GateResult`: "simclr.pt on digits, 600 samples"."""
    parts = {key: value for key, value in stable(facts).items() if isinstance(value, str | int | float)}
    encoder, dataset = parts.get("encoder"), parts.get("dataset")
    said = " on ".join(str(part) for part in (encoder, dataset) if part)
    count = parts.get("samples")
    more = [f"{count:,} samples"] if isinstance(count, int) else []
    return ", ".join([part for part in (said,) if part] + more)


def stable(facts: Mapping[str, Any]) -> dict[str, Any]:
    """`facts` without what says when they were found."""
    return {key: value for key, value in facts.items() if key not in TIMES}


def limit_text(limit: Limit, scale: _Scale | None = None) -> str:
    """ "at least 91.2%", "change at most +1.0 points": the limit's number in full, never rounded."""
    scale = scale or _Scale(limit.kind, "")
    kind = "" if limit.kind is Kind.VALUE else f"{limit.kind.value} "
    word = "at least" if limit.at_least else "at most"
    number = Decimal(repr(float(limit.value))) * scale.factor
    text = format(number.normalize(), "f")
    whole = "." not in text
    if scale.sign:
        text = "+0" if number == 0 else text if number < 0 else f"+{text}"
    elif whole and abs(number) >= 1000:
        text = f"{int(number):,}"
    return f"{kind}{word} {text}{scale.behind}"


@dataclass(frozen=True)
class _Scale:
    """How numbers of one kind and unit are written: shares in percent, their differences in points."""

    kind: Kind
    unit: str

    @property
    def share(self) -> bool:
        return self.unit in ("share", "%") or self.kind is Kind.RELATIVE

    @property
    def factor(self) -> int:
        return 100 if self.unit == "share" or self.kind is Kind.RELATIVE else 1

    @property
    def sign(self) -> bool:
        return self.kind is not Kind.VALUE

    @property
    def behind(self) -> str:
        """The unit behind a number."""
        if self.kind is Kind.RELATIVE:
            return "%"
        if self.share:
            return " points" if self.kind is Kind.CHANGE else "%"
        return f" {self.unit}" if self.unit else ""


def _value(result: RuleResult, value: float, scale: _Scale) -> str:
    """The value, its interval, and which class or sample it is about."""
    ends = () if result.interval is None else (result.interval.low, result.interval.high)
    numbers = [scale.factor * x for x in (value, *ends)]
    digits = _digits(numbers, scale.factor * result.rule.limit.value, scale)
    shown = [_written(x, digits, scale.sign) for x in numbers]
    text = shown[0] + scale.behind
    if ends:
        text += f" [{shown[1]}, {shown[2]}]"
    return f"{text} ({result.label})" if result.label else text


def _digits(numbers: list[float], limit: float, scale: _Scale) -> int:
    """Digits behind the point: as usual for such numbers, and more where one would look like the limit."""
    largest = max(map(abs, numbers))
    if scale.share:
        digits = 1
    elif all(x.is_integer() for x in (*numbers, limit)) and scale.unit:
        return 0
    else:
        digits = decimals(largest)
    if 0 < largest < 10.0**-digits:
        digits = min(MOST_DIGITS, 1 - math.floor(math.log10(largest)))

    def alike(x: float) -> bool:
        return not math.isclose(x, limit, rel_tol=1e-12, abs_tol=0.0) and _written(
            x, digits, False
        ) == _written(limit, digits, False)

    while digits < MOST_DIGITS and any(map(alike, numbers)):
        digits += 1
    return digits


def _written(x: float, digits: int, sign: bool) -> str:
    text = f"{x:,.{digits}f}"
    if not text.strip("-0.,"):
        return text.removeprefix("-")
    return f"+{text}" if sign and x > 0 else text
