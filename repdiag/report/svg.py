"""The little SVG that the figures need: tags, axes, and the strip that shows one number in its range.

Colors and fonts come from the page's style sheet (class names), so that figures follow light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from repdiag.report.numbers import number
from repdiag.types import MetricResult, MetricSpec


def tag(name: str, *content: str, **attributes: object) -> Markup:
    """One element; text content is escaped, `class_` means class and `stroke_width` stroke-width."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_short(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    body = Markup("").join(content)
    return Markup(f"<{name}{written}>{body}</{name}>" if body else f"<{name}{written}/>")  # noqa: S704 - escaped


def _short(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def nice_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers (steps of 1, 2, 2.5 or 5 times a power of ten) within [low, high]."""
    if not high > low:
        return [low]
    step = _round_step((high - low) / about)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [step * i for i in range(first, last + 1)]


def _round_step(at_least: float) -> float:
    power = 10.0 ** math.floor(math.log10(at_least))
    return next((f * power for f in (1, 2, 2.5, 5) if f * power >= at_least), 10 * power)


def tick_labels(ticks: Sequence[float], unit: str = "") -> list[str]:
    """The ticks with as many decimals as their step needs; shares in percent."""
    if unit == "share":
        ticks = [100 * tick for tick in ticks]
    step = abs(ticks[1] - ticks[0]) if len(ticks) > 1 else abs(ticks[0]) or 1.0
    digits = next((n for n in range(8) if abs(round(step, n) - step) < 1e-6 * step), 8)
    sign = "%" if unit in ("share", "%") else ""
    return [f"{0.0 if abs(tick) < 1e-12 else tick:,.{digits}f}{sign}" for tick in ticks]


@dataclass(frozen=True)
class Axes:
    """A plotting area in user units (1 unit is about 1 pixel) with a linear scale on both axes."""

    xlim: tuple[float, float]
    ylim: tuple[float, float]
    width: float = 460
    height: float = 280
    left: float = 54
    right: float = 16
    top: float = 16
    bottom: float = 44

    def x(self, value: float) -> float:
        """Horizontal place of a value."""
        return self.left + (self.width - self.left - self.right) * _share(value, self.xlim)

    def y(self, value: float) -> float:
        """Vertical place of a value (the axis points up)."""
        return self.height - self.bottom - (self.height - self.top - self.bottom) * _share(value, self.ylim)

    def frame(
        self, xlabel: str, ylabel: str, *, xunit: str = "", yunit: str = "", yticks: bool = True
    ) -> Markup:
        """Grid lines, tick labels and axis titles."""
        floor = self.height - self.bottom
        xs, ys = nice_ticks(*self.xlim), nice_ticks(*self.ylim) if yticks else []
        parts = [
            tag("line", x1=self.left, x2=self.width - self.right, y1=self.y(v), y2=self.y(v), class_="grid")
            for v in ys
        ]
        parts.append(tag("line", x1=self.left, x2=self.width - self.right, y1=floor, y2=floor, class_="axis"))
        parts += [
            tag("text", label, x=self.left - 8, y=self.y(v) + 4, class_="tick end")
            for v, label in zip(ys, tick_labels(ys, yunit) if ys else [], strict=True)
        ]
        parts += [
            tag("text", label, x=self.x(v), y=floor + 17, class_="tick mid")
            for v, label in zip(xs, tick_labels(xs, xunit), strict=True)
        ]
        middle = (self.left + self.width - self.right) / 2
        parts.append(tag("text", xlabel, x=middle, y=self.height - 6, class_="label mid"))
        if ylabel:
            parts.append(tag("text", ylabel, x=0, y=10, class_="label"))
        return Markup("").join(parts)

    def path(self, points: Iterable[tuple[float, float]], class_: str, closed: bool = False) -> Markup:
        """A line (or an area) through data points; nothing when there are none."""
        steps = [f"{self.x(x):.2f},{self.y(y):.2f}" for x, y in points]
        if not steps:
            return Markup("")
        return tag("path", d="M" + "L".join(steps) + ("Z" if closed else ""), class_=class_)

    def figure(self, title: str, *content: str) -> Markup:
        """The whole drawing with its title for screen readers."""
        return tag(
            "svg",
            tag("title", title),
            *content,
            viewBox=f"0 0 {self.width:g} {self.height:g}",
            role="img",
            class_="plot",
        )


def _share(value: float, limits: tuple[float, float]) -> float:
    low, high = limits
    return (value - low) / (high - low) if high > low else 0.5


def strip_limits(spec: MetricSpec, result: MetricResult) -> tuple[float, float]:
    """The range a strip shows: the metric's own where that is bounded, else one around what is drawn."""
    shown = [result.value]
    if result.interval is not None:
        shown += [result.interval.low, result.interval.high]
    if result.null is not None:
        shown.append(result.null.mean)
    low = min(*shown, spec.low if math.isfinite(spec.low) else 0.0)
    high = max(*shown, spec.high if math.isfinite(spec.high) else 0.0)
    step = _round_step(max((high - low) / 8, abs(low) / 1e6, 1e-9))
    if not math.isfinite(spec.low) and low < 0:
        low = step * (math.floor(low / step) - 1)
    if (not math.isfinite(spec.high) and high > 0) or high <= low:
        high = step * (math.floor(high / step) + 1)
    return low, high


LOG_FROM = 20.0
"""Ratio of the largest to the smallest drawn number from which a range without an upper end is logarithmic."""


@dataclass(frozen=True)
class Scale:
    """From a number to a place between 0 and 100 percent of the width."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(f"no scale: {self.low} to {self.high}")

    def at(self, value: float) -> float:
        """The place of `value`; what lies outside is drawn at the end."""
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        if self.log:
            value = math.log(max(value, self.low))
        return 100 * min(1.0, max(0.0, (value - low) / (high - low)))


def own_scale(spec: MetricSpec, result: MetricResult) -> Scale:
    """The metric's range; where that has no end, one around what is drawn, logarithmic where numbers lie far apart."""
    shown = [result.value]
    if result.interval is not None:
        shown += [result.interval.low, result.interval.high]
    if result.null is not None:
        shown.append(result.null.mean)
    if not math.isfinite(spec.high) and min(shown) > 0 and max(shown) / min(shown) > LOG_FROM:
        low = 10.0 ** max(-300, math.floor(math.log10(min(shown))))
        high = 10.0 ** min(300, math.ceil(math.log10(max(shown)) + 1e-9))
        return Scale(low, high, log=True)
    return Scale(*strip_limits(spec, result))


def strip(spec: MetricSpec, result: MetricResult) -> Markup:
    """One number in its range: a line for the range, a bar for the interval, a dot for the value, a tick for
    the null. Places are percentages, so that it fills any width without being stretched."""
    scale = own_scale(spec, result)

    def at(value: float) -> str:
        return f"{scale.at(value):.2f}%"

    parts = [tag("line", x1="0%", x2="100%", y1=9, y2=9, class_="range")]
    said = f"{number(result.value, spec.unit)} in the range {number(scale.low, spec.unit)} to "
    said += number(scale.high, spec.unit) + (" (log scale)" if scale.log else "")
    if result.interval is not None:
        low, high = result.interval.low, result.interval.high
        width = f"{scale.at(high) - scale.at(low):.2f}%"
        parts.append(tag("rect", x=at(low), y=2, width=width, height=14, rx=1, class_="interval"))
    if result.null is not None:
        place = at(result.null.mean)
        parts.append(tag("line", x1=place, x2=place, y1=1, y2=17, class_="null"))
        said += f", null at {number(result.null.mean, spec.unit)}"
    parts.append(tag("circle", cx=at(result.value), cy=9, r=3.5, class_="dot"))
    first, last = scale_ends(spec, scale)
    parts.append(tag("text", first, x="0%", y=29, class_="tick"))
    parts.append(tag("text", last, x="100%", y=29, class_="tick end"))
    return tag("svg", tag("title", said), *parts, class_="strip", role="img", height=32)


def scale_ends(spec: MetricSpec, scale: Scale) -> tuple[str, str]:
    """What stands at the ends of a scale: an arrow where the metric's range goes on; a logarithmic one says so."""
    if scale.log:
        return f"{scale.low:,.10g} (log)", f"{scale.high:,.10g} →"
    first, last = tick_labels((scale.low, scale.high), spec.unit)
    return (
        first if math.isfinite(spec.low) else f"← {first}",
        last if math.isfinite(spec.high) else f"{last} →",
    )
