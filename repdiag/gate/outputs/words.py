"""Results of a gate in words and numbers: one rule for the terminal, Markdown and JUnit XML."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from repdiag.gate.types import GateResult, Kind, Outcome, RuleResult
from repdiag.report.numbers import decimals
from repdiag.report.text import visible

WORDS = {Outcome.PASS: "pass", Outcome.FAIL: "FAIL", Outcome.UNDETERMINED: "undetermined"}
"""How outcomes are written: a failure stands out without color."""

MOST_DIGITS = 12
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, not even escaped; HTML had better not either."""
TIMES = ("created", "timing")
"""What says when a report was made: left out, as two reports of equal inputs differ in it."""


@dataclass(frozen=True)
class Written:
    """A rule's value in text, the ends of its interval ("" where there is none) and the unit ("%" for a relative
    change, "" for a share)."""

    value: str
    low: str
    high: str
    unit: str


@dataclass(frozen=True)
class Line:
    """One rule's result as text: `value` has its interval beside it ("" where there is no value)."""

    outcome: Outcome
    word: str
    name: str
    value: str
    limit: str
    why: str

    @property
    def short(self) -> str:
        """Value and limit in one phrase."""
        return f"{self.value or 'no value'}, limit {self.limit}"


def line(result: RuleResult) -> Line:
    """`result` as text. Numbers are those of the rules file (a share is 0.912), none of them rounded onto the limit.

    A rule that passes by its numbers says how that was decided; any other says why it does not. The name that a rule
    gets by itself ends with the limit, which is said beside it.
    """
    passed = result.outcome is result.evidence is Outcome.PASS
    method = _stopped(f"Basis: {result.method}") if result.method and result.value is not None else ""
    parts = ("" if passed else _stopped(result.reason), method, _stopped(result.note))
    return Line(
        outcome=result.outcome,
        word=WORDS[result.outcome],
        name=result.rule.name.removesuffix(f": {result.rule.limit}"),
        value="" if result.value is None else _value(result, result.value),
        limit=str(result.rule.limit),
        why=" ".join(filter(None, parts)),
    )


def _stopped(text: str) -> str:
    """`text` with a full stop; its first letter stays, which may be that of a metric's name."""
    return text if not text or text.rstrip().endswith((".", "!", "?")) else f"{text.rstrip()}."


def warnings(result: GateResult) -> list[str]:
    """What to beware of, without the notes that stand beside their rules."""
    beside = {f"{one.rule.name}: {one.note}" for one in result.results}
    return [warning for warning in result.warnings if warning not in beside]


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


def printable(value: str) -> str:
    """Text on one line that nothing obeys and that XML can hold."""
    return _ILLEGAL.sub(lambda found: found[0].encode("unicode_escape").decode(), visible(value))


def written(result: RuleResult, value: float) -> Written:
    """Value, interval and unit of `result`, whose value is `value`."""
    kind = result.rule.limit.kind
    factor = 100 if kind is Kind.RELATIVE else 1
    unit = "%" if kind is Kind.RELATIVE else "" if result.unit == "share" else result.unit
    ends = () if result.interval is None else (result.interval.low, result.interval.high)
    numbers = [float(factor * x) for x in (value, *ends)]
    digits = _digits(numbers, factor * result.rule.limit.value)
    counted = unit not in ("", "%")  # counts are whole, the bounds of a count need not be
    shown = [
        _written(x, 0 if counted and x.is_integer() else digits, kind is not Kind.VALUE) for x in numbers
    ]
    low, high = shown[1:] or ("", "")
    return Written(shown[0], low, high, unit)


def _value(result: RuleResult, value: float) -> str:
    """The value, its interval and unit, and which class it is of."""
    found = written(result, value)
    text = f"{found.value} [{found.low}, {found.high}]" if found.low else found.value
    text += f" {found.unit}" if found.unit else ""
    return f"{text} ({result.label})" if result.label else text


def _digits(numbers: list[float], limit: float) -> int:
    """Digits behind the point: as usual for such numbers, and more where one would look like the limit."""
    largest = max(map(abs, numbers))
    if largest == 0 or (largest >= 1 and all(float(x).is_integer() for x in (*numbers, limit))):
        return 0
    digits = decimals(largest)
    if 0 < largest < 10.0 ** (1 - digits):
        digits = min(MOST_DIGITS, 1 - math.floor(math.log10(largest)))

    def alike(x: float) -> bool:
        apart = not math.isclose(x, limit, rel_tol=1e-12, abs_tol=0.0)
        return apart and _written(x, digits, False) == _written(limit, digits, False)

    while digits < MOST_DIGITS and any(map(alike, numbers)):
        digits += 1
    return digits


def _written(x: float, digits: int, sign: bool) -> str:
    text = f"{x:,.{digits}f}"
    if not text.strip("-0.,"):
        return text.removeprefix("-")
    return f"+{text}" if sign and x > 0 else text
