"""One rule on one axis: the value, its bounds, and the limit that they are held against."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from repdiag.gate.types import Kind, RuleResult
from repdiag.report.svg import Scale, nice_ticks, tag, tick_labels

ROOM = 0.14
"""Of the span of what is drawn, on either side of it."""


def axis(result: RuleResult, said: str) -> Markup:
    """The allowed side of the limit is tinted; the bar reaches from one one-sided bound to the other; a dashed line
    stands where nothing has changed. Empty without a value. `said` is for those who do not see it."""
    if result.value is None:
        return Markup("")
    limit = result.rule.limit
    scale = _scale(_drawn(result, result.value))
    place = scale.at(limit.value)
    allowed = (place, 100 - place) if limit.at_least else (0.0, place)
    parts = [
        tag("rect", x=_percent(allowed[0]), y=15, width=_percent(allowed[1]), height=20, class_="allowed"),
        tag("line", x1="0%", x2="100%", y1=25, y2=25, class_="range"),
    ]
    if limit.kind is not Kind.VALUE:
        zero = _percent(scale.at(0.0))
        parts.append(tag("line", x1=zero, x2=zero, y1=15, y2=35, class_="null"))
    if result.interval is not None:
        low, high = scale.at(result.interval.low), scale.at(result.interval.high)
        parts.append(
            tag("rect", x=_percent(low), y=20, width=_percent(high - low), height=10, rx=1, class_="bounds")
        )
    parts += [
        tag("line", x1=_percent(place), x2=_percent(place), y1=13, y2=37, class_="limit"),
        tag("text", "limit", x=_percent(place), y=9, class_=f"tick {_anchor(place)}"),
        tag("circle", cx=_percent(scale.at(result.value)), cy=25, r=4.2, class_="found"),
    ]
    ticks = nice_ticks(scale.low, scale.high, 4)
    labels = tick_labels(ticks, "share" if limit.kind is Kind.RELATIVE else "")
    for at, label in zip(ticks, labels, strict=True):
        parts.append(tag("text", label, x=_percent(scale.at(at)), y=49, class_="tick mid"))
    return tag("svg", tag("title", said), *parts, class_="strip", role="img", height=52)


def _drawn(result: RuleResult, value: float) -> list[float]:
    """Everything that has to be on the axis."""
    ends = () if result.interval is None else (result.interval.low, result.interval.high)
    zero = () if result.rule.limit.kind is Kind.VALUE else (0.0,)
    return [value, result.rule.limit.value, *ends, *zero]


def _scale(drawn: Sequence[float]) -> Scale:
    low, high = min(drawn), max(drawn)
    room = ROOM * (high - low) or 0.1 * abs(high) or 1.0
    return Scale(low - room, high + room)


def _percent(place: float) -> str:
    return f"{place:.2f}%"


def _anchor(place: float) -> str:
    """Where a word at `place` reaches to, so that it stays on the axis."""
    return "" if place < 10 else "end" if place > 90 else "mid"
