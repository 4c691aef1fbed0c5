"""Differences in words and numbers: one rule for the page and the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from repdiag.comparison.types import Difference, Effect
from repdiag.comparison.words import ENCODER_EFFECTS
from repdiag.report.numbers import number, quantity
from repdiag.types import Direction, Interval, MetricResult

EFFECT_WORDS = {Effect.HELPED: "helped", Effect.NO_EVIDENCE: "no evidence", Effect.HURT: "hurt"}
EFFECT_CLASSES = {Effect.HELPED: "helped", Effect.NO_EVIDENCE: "unclear", Effect.HURT: "hurt"}


def effect_word(d: Difference, fixed: bool = False) -> str:
    """What a difference says; "moved" where several seeds make it clear and no way is better.

    `fixed`: of two given encoders, which have no seeds and are better or worse.
    """
    clear = d.interval is not None and d.interval.low * d.interval.high > 0 and (fixed or len(d.by_seed) > 1)
    if clear and d.direction is Direction.NEITHER:
        return "moved"
    return (ENCODER_EFFECTS if fixed else EFFECT_WORDS)[d.effect]


def effect_counts(differences: Iterable[Difference], fixed: bool = False) -> str:
    """How many say what: "2 helped, 1 hurt, 9 no evidence"; what none says is left out."""
    found = [effect_word(d, fixed) for d in differences]
    words = ENCODER_EFFECTS if fixed else EFFECT_WORDS
    order = (words[Effect.HELPED], words[Effect.HURT], "moved", words[Effect.NO_EVIDENCE])
    return ", ".join(f"{found.count(word)} {word}" for word in order if word in found)


def points(unit: str) -> str:
    """The unit of a difference: shares differ by percentage points."""
    return "points" if unit in ("share", "%") else unit


def signed(value: float, unit: str, like: float | None = None) -> str:
    """A difference with its sign and no unit: "+0.3"; zero has none."""
    shown = number(value, unit, like=like)
    bare = shown.lstrip("-").replace(",", "")
    zero = not any(digit in "123456789" for digit in bare)
    return bare if zero and "e" not in bare else shown if value < 0 else f"+{shown}"


def delta_text(d: Difference) -> str:
    """A difference without its unit."""
    return signed(d.delta, _unit(d), _scale(d))


def interval_words(d: Difference) -> str:
    """ "[-0.4, +1.0]" with the decimals of the difference, "" without an interval.

    An end that is not zero is never written as zero where the interval excludes zero: it has more decimals then.
    """
    if d.interval is None:
        return ""
    like = _scale(d)
    ends = (d.interval.low, d.interval.high)
    excludes = ends[0] > 0 or ends[1] < 0
    low, high = (signed(end, _unit(d), like) for end in ends)
    if excludes and ends[0] and not low.startswith(("+", "-")):
        low = _first_digit(ends[0], d.unit)
    if excludes and ends[1] and not high.startswith(("+", "-")):
        high = _first_digit(ends[1], d.unit)
    return f"[{low}, {high}]"


def _first_digit(value: float, unit: str) -> str:
    """A number so close to zero that only its first digit matters: "+0.00009"."""
    value = 100 * value if unit == "share" else value
    return f"{value:+.{min(12, max(0, -math.floor(math.log10(abs(value)))))}f}"


def _unit(d: Difference) -> str:
    """The unit that decides how numbers are written: that of a count only where all of them are whole."""
    ends = () if d.interval is None else (d.interval.low, d.interval.high)
    whole = all(float(v).is_integer() for v in (d.delta, *ends))
    return d.unit if whole or d.unit in ("share", "%") else ""


def _scale(d: Difference) -> float:
    """What decides the decimals of a difference and its interval: the largest of the three.

    Shares keep at least a tenth of a point, so that a tiny difference in a wide interval is not written out.
    """
    ends = () if d.interval is None else (d.interval.low, d.interval.high)
    return max([abs(d.delta), *map(abs, ends)])


def said(d: Difference) -> str:
    """The whole difference: "+0.3 points [-0.4, +1.0]"."""
    return " ".join(part for part in (delta_text(d), points(d.unit), interval_words(d)) if part)


def method_words(interval: Interval | None) -> str:
    """How an interval was made."""
    if interval is None:
        return ""
    return f"{100 * interval.level:g}% interval: {interval.method}" + (
        f", n = {interval.n:,}" if interval.n else ""
    )


def range_words(results: Sequence[tuple[int | None, MetricResult]], unit: str) -> str:
    """ "3 seeds, 61.2 to 61.9%"; "" where there is one run."""
    if len(results) < 2:
        return ""
    values = [result.value for _, result in results]
    low, high = min(values), max(values)
    return f"{len(values)} seeds, {number(low, unit, like=high)} to {quantity(high, unit)}"
