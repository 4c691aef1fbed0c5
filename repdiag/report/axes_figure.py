"""Numbers beside what they would be by chance: rows of a forest, each a value, its interval and its null.

Rows share one scale, or each has its own. Places are percentages of the width, so that a row fills any width without
being stretched; what a row shows stands beside it as text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from repdiag.report.numbers import number
from repdiag.report.svg import Scale, own_scale, tag, tick_labels
from repdiag.report.views import Metric, metric
from repdiag.types import Direction, Measurement, MetricResult, MetricSpec

SPREADS = 2.0
"""Half the width of a null's band, in standard deviations over its draws."""

POINTS = {
    Direction.HIGHER: ("higher →", "higher is better"),
    Direction.LOWER: ("← lower", "lower is better"),
    Direction.NEITHER: ("neither", "no better direction"),
}
"""Which way is better, with an arrow that points there along the scale."""


def place(percent: float) -> str:
    """A place as an attribute."""
    return f"{percent:.2f}%"


def lines(scale: Scale, values: Sequence[float], class_: str, height: int) -> list[Markup]:
    """Upright lines through the whole row."""
    return [
        tag("line", x1=place(scale.at(v)), x2=place(scale.at(v)), y1=0, y2=height, class_=class_)
        for v in values
    ]


def null_band(scale: Scale, mean: float, std: float, height: int) -> list[Markup]:
    """What chance gives: a pale band of two standard deviations either way, and a dashed line at the mean."""
    left, right = scale.at(mean - SPREADS * std), scale.at(mean + SPREADS * std)
    parts = [tag("rect", x=place(left), width=place(right - left), y=0, height=height, class_="chance")]
    return parts + lines(scale, [mean], "null", height)


def mark(
    scale: Scale, result: MetricResult, said: str, *, guides: Sequence[float] = (), ends: Sequence[str] = ()
) -> Markup:
    """A row: guide lines, the range, the null, the interval, the value; `ends` are written below its two ends."""
    height, middle = 26, 13
    parts = lines(scale, guides, "guide", height)
    parts.append(tag("line", x1="0%", x2="100%", y1=middle, y2=middle, class_="range"))
    if result.null is not None:
        parts += null_band(scale, result.null.mean, result.null.std, height)
    if result.interval is not None:
        left, right = scale.at(result.interval.low), scale.at(result.interval.high)
        parts.append(
            tag("rect", x=place(left), width=place(right - left), y=middle - 5, height=10, class_="interval")
        )
    parts.append(tag("circle", cx=place(scale.at(result.value)), cy=middle, r=4, class_="dot"))
    if ends:
        parts.append(tag("text", ends[0], x="0%", y=height + 11, class_="tick"))
        parts.append(tag("text", ends[1], x="100%", y=height + 11, class_="tick end"))
    whole = height + (14 if ends else 0)
    return tag("svg", tag("title", said), *parts, class_="mark-row", role="img", height=whole)


@dataclass(frozen=True)
class ForestRow:
    """One measured metric: what it is called and shown as, which way is better, and its drawing."""

    metric: Metric
    better: str
    better_words: str
    svg: Markup


def forest_row(
    measurement: Measurement, scale: Scale | None = None, guides: Sequence[float] = ()
) -> ForestRow | None:
    """A row on `scale`, or on the metric's own with its ends written below; None where it was skipped."""
    spec, result = measurement.spec, measurement.outcome
    if not isinstance(result, MetricResult):
        return None
    shown = metric(measurement)
    ends: tuple[str, ...] = ()
    if scale is None:
        scale = own_scale(spec, result)
        ends = end_labels(scale, spec)
    said = f"{shown.value} between {number(scale.low, spec.unit)} and {number(scale.high, spec.unit)}"
    if shown.null:
        said += f"; {shown.null_name}: {shown.null}"
    better, words = POINTS[spec.direction]
    return ForestRow(shown, better, words, mark(scale, result, said, guides=guides, ends=ends))


def end_labels(scale: Scale, spec: MetricSpec) -> tuple[str, str]:
    """The ends of a scale, with an arrow where the metric's range goes on; a logarithmic one says so."""
    if scale.log:
        return f"{scale.low:,.10g} (log scale)", f"{scale.high:,.10g} →"
    low, high = tick_labels([scale.low, scale.high], spec.unit)
    return (
        low if math.isfinite(spec.low) else f"← {low}",
        high if math.isfinite(spec.high) else f"{high} →",
    )


def axis(scale: Scale, ticks: Sequence[tuple[float, str]]) -> Markup:
    """The scale's numbers above a column of rows; the first starts and the last ends at its tick."""
    parts = []
    for i, (value, label) in enumerate(ticks):
        side = "" if i == 0 else " end" if i == len(ticks) - 1 else " mid"
        parts.append(tag("text", label, x=place(scale.at(value)), y=11, class_="tick" + side))
    return tag("svg", *parts, class_="axis-row", height=14, aria_hidden="true")
