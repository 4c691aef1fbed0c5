"""Small drawings of a comparison's page: differences around zero, and the runs of an arm side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from repdiag.comparison.types import Difference
from repdiag.report.comparison_arms import Arm, Reading
from repdiag.report.comparison_words import EFFECT_CLASSES, effect_word, points, said, signed
from repdiag.report.numbers import number, quantity
from repdiag.report.svg import Scale, own_scale, scale_ends, strip_limits, tag
from repdiag.types import Direction, MetricResult, MetricSpec

LANE = 12.0  # height of one difference in a forest


def _at(value: float, limits: tuple[float, float]) -> str:
    low, high = limits
    return f"{100 * ((value - low) / (high - low) if high > low else 0.5):.2f}%"


def round_up(value: float) -> float:
    """The next round number (0: one), so that the ends of a scale read well."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    steps = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)
    return float(f"{next((s * power for s in steps if s * power >= value), 10 * power):.6g}")


def dot(shape: int, x: str, y: float, class_: str, r: float = 4) -> Markup:
    """A mark: a ring for "before", a square for the control, a disk for all others."""
    if shape == 0:
        return tag("circle", cx=x, cy=y, r=r - 0.75, class_=f"ring {class_}")
    if (
        shape == 1
    ):  # a place in percent cannot be moved by half a width: a short thick line stands for the square
        return tag("svg", tag("rect", x=-r + 0.5, y=-r + 0.5, width=2 * r - 1, height=2 * r - 1, class_=class_),
                   x=x, y=y, overflow="visible")  # fmt: skip
    return tag("circle", cx=x, cy=y, r=r, class_=class_)


def forest(differences: Sequence[Difference], reading: Reading) -> Markup:
    """Differences of one metric on one scale with zero in the middle, the better side tinted.

    The first is the one that counts: its interval is a bar in the color of its effect. The others are thin, with the
    mark of the arm that is compared.
    """
    main = differences[0]
    ends = [abs(v) for d in differences for v in (d.delta, *_ends(d))]
    most = round_up(1.05 * max(ends))
    limits = (-most, most)
    height = 10 + LANE * len(differences)
    parts: list[Markup] = []
    if main.direction is not Direction.NEITHER:
        side = "50%" if main.direction is Direction.HIGHER else "0%"
        parts.append(tag("rect", x=side, y=0, width="50%", height=height, class_="better-side"))
    parts.append(tag("line", x1="50%", x2="50%", y1=0, y2=height, class_="zero"))
    for i, d in enumerate(differences):
        y = 5 + LANE * (i + 0.5)
        low, high = _ends(d)
        arm = reading.arm(d.subject)
        mark = 2 if arm is None else arm.mark
        if i == 0:
            class_ = f"effect {EFFECT_CLASSES[d.effect]}"
            if d.interval is not None:
                width = f"{100 * (high - low) / (2 * most):.2f}%"
                parts.append(
                    tag(
                        "rect",
                        x=_at(low, limits),
                        y=y - 4,
                        width=width,
                        height=8,
                        rx=1,
                        class_=class_ + " bar",
                    )
                )
            parts.append(dot(2, _at(d.delta, limits), y, class_, 4.5))
        else:
            class_ = f"arm-{mark}"
            if d.interval is not None:
                parts.append(
                    tag(
                        "line", x1=_at(low, limits), x2=_at(high, limits), y1=y, y2=y, class_=f"{class_} thin"
                    )
                )
            parts.append(dot(mark, _at(d.delta, limits), y, class_, 3.5))
    words = "; ".join(
        f"{d.subject} against {d.against}: {said(d)}, {effect_word(d, reading.fixed)}" for d in differences
    )
    shown = 100 * most if main.unit == "share" else most
    right = f"+{shown:g} {points(main.unit)}"
    parts += [
        tag("text", f"-{shown:g}", x="0%", y=height + 11, class_="tick"),
        tag("text", "0", x="50%", y=height + 11, class_="tick mid"),
        tag("text", right.strip(), x="100%", y=height + 11, class_="tick end"),
    ]
    return tag("svg", tag("title", words), *parts, class_="strip", role="img", height=height + 14)


def _ends(d: Difference) -> tuple[float, float]:
    return (d.delta, d.delta) if d.interval is None else (d.interval.low, d.interval.high)


def seed_dots(values: Sequence[tuple[Arm, Sequence[float]]], unit: str) -> Markup:
    """Every run's value of one metric, a lane per arm, on one scale: how far seeds scatter."""
    known = [v for _, runs in values for v in runs]
    if not known:
        return Markup("")
    low, high = min(known), max(known)
    room = 0.06 * (high - low) or abs(high) or 1.0
    limits = (low - room, high + room)
    parts: list[Markup] = []
    for i, (arm, runs) in enumerate(values):
        y = 5.0 + 9 * i
        parts.append(tag("line", x1="0%", x2="100%", y1=y, y2=y, class_="range faint"))
        parts += [dot(arm.mark, _at(value, limits), y, f"arm-{arm.mark}", 3.2) for value in runs]
    words = "; ".join(f"{arm.title}: {', '.join(quantity(v, unit) for v in runs)}" for arm, runs in values)
    return tag("svg", tag("title", words), *parts, class_="strip", role="img", height=1 + 9 * len(values))


def values_in_range(spec: MetricSpec, values: Sequence[tuple[Arm, MetricResult]]) -> Markup:
    """Every encoder's value of one metric with its interval and null, a lane each, in the metric's range: the strips of
    a report, one below the other on one scale."""
    if not values:
        return Markup("")
    scale = _shared_scale(spec, [result for _, result in values])

    def at(value: float) -> str:
        return f"{scale.at(value):.2f}%"

    parts: list[Markup] = []
    for i, (arm, result) in enumerate(values):
        y, class_ = 6.0 + 11 * i, f"arm-{arm.mark}"
        parts.append(tag("line", x1="0%", x2="100%", y1=y, y2=y, class_="range faint"))
        if result.interval is not None:
            ends = {"x1": at(result.interval.low), "x2": at(result.interval.high)}
            parts.append(tag("line", **ends, y1=y, y2=y, class_=f"{class_} wide"))
        if result.null is not None:
            place = at(result.null.mean)
            parts.append(tag("line", x1=place, x2=place, y1=y - 5, y2=y + 5, class_="null"))
        parts.append(dot(arm.mark, at(result.value), y, class_, 3.4))
    height = 11 * len(values) + 1
    first, last = scale_ends(spec, scale)
    parts += [
        tag("text", first, x="0%", y=height + 11, class_="tick"),
        tag("text", last, x="100%", y=height + 11, class_="tick end"),
    ]
    words = "; ".join(f"{arm.title}: {quantity(result.value, spec.unit)}" for arm, result in values)
    return tag("svg", tag("title", words), *parts, class_="strip", role="img", height=height + 14)


def _shared_scale(spec: MetricSpec, results: Sequence[MetricResult]) -> Scale:
    """A scale that has room for each result's own; logarithmic only where each of them is."""
    own = [own_scale(spec, result) for result in results]
    if all(scale.log for scale in own):
        return Scale(min(scale.low for scale in own), max(scale.high for scale in own), log=True)
    limits = [strip_limits(spec, result) for result in results]
    return Scale(min(low for low, _ in limits), max(high for _, high in limits))


def number_strip(
    results: Sequence[tuple[int | None, MetricResult]], mark: int, limits: tuple[float, float], unit: str
) -> Markup:
    """The runs of one arm, each with its report's own interval, on the scale that all arms share."""
    parts: list[Markup] = []
    lane = 9.0
    for i, (_, result) in enumerate(results):
        y = 4.0 + lane * (i + 0.5)
        parts.append(tag("line", x1="0%", x2="100%", y1=y, y2=y, class_="range faint"))
        if result.interval is not None:
            parts.append(
                tag("line", x1=_at(result.interval.low, limits), x2=_at(result.interval.high, limits), y1=y, y2=y,
                    class_=f"arm-{mark} wide")
            )  # fmt: skip
        parts.append(dot(mark, _at(result.value, limits), y, f"arm-{mark}", 3.6))
    height = 4 + lane * len(results)
    parts += [
        tag("text", number(limits[0], unit), x="0%", y=height + 12, class_="tick"),
        tag("text", number(limits[1], unit), x="100%", y=height + 12, class_="tick end"),
    ]
    words = "; ".join(
        ("" if seed is None else f"seed {seed}: ") + quantity(r.value, unit) for seed, r in results
    )
    return tag("svg", tag("title", words), *parts, class_="strip", role="img", height=height + 16)


def number_limits(results: Sequence[tuple[int | None, MetricResult]]) -> tuple[float, float]:
    """One scale for all the numbers and their intervals."""
    ends = [r.value for _, r in results]
    ends += [end for _, r in results if r.interval is not None for end in (r.interval.low, r.interval.high)]
    low, high = min(ends), max(ends)
    room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return low - room, high + room


def arms_forest(metric: str, reading: Reading) -> list[tuple[Arm, str, Difference | None, Markup]]:
    """Each arm's difference from the control in one metric, all on one scale: value as text, difference, drawing."""
    against = reading.comparison.against
    found = [(arm, reading.difference(metric, arm.name, against)) for arm in reading.arms]
    ends = [abs(v) for _, d in found if d is not None for v in (d.delta, *_ends(d))]
    most = round_up(1.05 * max(ends, default=0.0))
    rows = []
    for arm, d in found:
        unit = reading.specs[metric].unit if metric in reading.specs else ("" if d is None else d.unit)
        value = quantity(reading.value(arm, metric), unit)
        rows.append((arm, value, d, Markup("") if d is None else _lane(d, most, reading.fixed)))
    return rows


def _lane(d: Difference, most: float, fixed: bool = False) -> Markup:
    """One difference on a given scale."""
    limits, (low, high) = (-most, most), _ends(d)
    class_ = f"effect {EFFECT_CLASSES[d.effect]}"
    parts = []
    if d.direction is not Direction.NEITHER:
        side = "50%" if d.direction is Direction.HIGHER else "0%"
        parts.append(tag("rect", x=side, y=0, width="50%", height=18, class_="better-side"))
    parts.append(tag("line", x1="50%", x2="50%", y1=0, y2=18, class_="zero"))
    if d.interval is not None:
        width = f"{100 * (high - low) / (2 * most):.2f}%"
        parts.append(
            tag("rect", x=_at(low, limits), y=5, width=width, height=8, rx=1, class_=class_ + " bar")
        )
    parts.append(dot(2, _at(d.delta, limits), 9, class_, 4.5))
    return tag(
        "svg",
        tag("title", f"{said(d)}, {effect_word(d, fixed)}"),
        *parts,
        class_="strip",
        role="img",
        height=18,
    )


def class_lane(delta: float, low: float, high: float, most: float) -> Markup:
    """A class's change of accuracy with its interval, on a scale with zero in the middle."""
    limits = (-most, most)
    parts = [tag("rect", x="50%", y=0, width="50%", height=16, class_="better-side")]
    parts.append(tag("line", x1="50%", x2="50%", y1=0, y2=16, class_="zero"))
    kind = "helped" if low > 0 else "hurt" if high < 0 else "unclear"
    if np.isfinite([low, high]).all():
        width = f"{100 * (high - low) / (2 * most):.2f}%"
        parts.append(
            tag("rect", x=_at(low, limits), y=4, width=width, height=8, rx=1, class_=f"effect {kind} bar")
        )
    parts.append(dot(2, _at(delta, limits), 8, f"effect {kind}", 4))
    words = signed(delta, "share") + " points"
    return tag("svg", tag("title", words), *parts, class_="strip", role="img", height=16)
