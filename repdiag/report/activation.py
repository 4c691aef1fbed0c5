"""The activation curve: how often each feature stands out, which of them are discriminative, which were kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from repdiag.report.columns import numeric
from repdiag.report.figure import Figure, value_of
from repdiag.report.numbers import quantity
from repdiag.report.svg import Axes, tag
from repdiag.types import BoolArray, Report, Skipped, Table

MAX_POINTS = 600  # a curve with more points than pixels only makes the page heavier
NARROW = 46.0  # a zone less wide than this, in pixels, has no room for its name
LABEL = 13.0  # height of a line of the small text

RULES = (("activation_frequency", "in_s"), ("adapted_frequency", "in_adapted_s"))
"""Columns of features.csv that hold a frequency and S: by the paper's rule, and by ours for signed features."""


@dataclass(frozen=True)
class Ranked:
    """D features, most often active first: frequency in percent, whether in S, whether kept (None: not told)."""

    frequency: npt.NDArray[np.float64]
    in_s: BoolArray
    kept: BoolArray | None

    @property
    def band(self) -> tuple[int, int] | None:
        """The first place of S and the one behind its last; None where S is empty."""
        places = np.flatnonzero(self.in_s)
        return (int(places[0]), int(places[-1]) + 1) if places.size else None


def ranked(table: Table, frequency: str, in_s: str) -> Ranked | None:
    """The features in their order (equally frequent ones by their mean), None without that frequency."""
    values = numeric(table, frequency)
    if values is None or values.size == 0 or not np.isfinite(values).all():
        return None
    mean = numeric(table, "mean")
    order = np.lexsort((np.arange(values.size), *(() if mean is None else (-mean,)), -values))

    def flags(name: str) -> BoolArray | None:
        column = table.columns.get(name)
        return None if column is None else np.asarray(column, dtype=np.bool_)[order]

    inside = flags(in_s)
    return Ranked(values[order], np.zeros(values.size, np.bool_) if inside is None else inside, flags("kept"))


def curve_of(report: Report) -> tuple[Ranked, bool] | None:
    """What the report holds of the curve, and whether by the adapted rule. None where no feature can stand out."""
    measured = report.measurement("activation_frequency")
    impossible = measured is not None and isinstance(measured.outcome, Skipped)
    for frequency, in_s in RULES:
        adapted = frequency != RULES[0][0]
        if impossible and not adapted:
            continue  # too few features for the rule: a column of zeros is no curve
        found = ranked(report.features, frequency, in_s)
        if found is not None:
            return found, adapted
    return None


def activation_curve(report: Report) -> Figure | None:
    """How often each feature is active, most active first, with the band of S and the features that were kept."""
    found = curve_of(report)
    if found is None:
        return None
    curve, adapted = found
    d, top = curve.frequency.size, float(curve.frequency[0]) or 1.0
    axes = Axes((0.0, float(d)), (0.0, 1.05 * top), height=296, top=40)
    parts = [
        *_zones(axes, curve),
        axes.frame("features, most often active first", "share of images", yunit="%"),
    ]
    if not adapted:
        parts += _limits(axes, report)
    rows = np.unique(np.linspace(0, d - 1, min(d, MAX_POINTS)).round().astype(int))
    line = [(float(i) + 0.5, float(curve.frequency[i])) for i in rows]
    parts.append(axes.path([(line[0][0], 0.0), *line, (line[-1][0], 0.0)], "area", closed=True))
    parts.append(axes.path(line, "line"))
    legend: list[tuple[str, str]] = []
    if curve.kept is not None and curve.kept.any() and not curve.kept.all():
        parts.append(_strip(axes, curve.kept))
        legend.append(("line kept", f"the {int(curve.kept.sum()):,} features that keep the accuracy"))
    title = "Activation frequency" + (" (adapted rule)" if adapted else "")
    measured = None if adapted else report.value("activation_frequency")
    return Figure(
        "activation",
        title,
        axes.figure(title, *parts),
        _caption(curve, adapted),
        tuple(legend),
        () if measured is None else measured.table,
        _said(curve),
    )


def _zones(axes: Axes, curve: Ranked) -> list[Markup]:
    """The band of S, and the names of what lies on either side of it."""
    if curve.band is None:
        return []
    first, last = curve.band
    left, right, end = axes.x(float(first)), axes.x(float(last)), axes.width - axes.right
    floor = axes.height - axes.bottom
    parts = [tag("rect", x=left, y=axes.top, width=right - left, height=floor - axes.top, class_="band")]
    parts.append(tag("text", "S", x=(left + right) / 2, y=axes.top - 6, class_="mark mid"))
    if (
        left > axes.left
    ):  # a narrow zone's name begins at its edge and is over S only where that is narrow too
        wide = left - axes.left > NARROW
        at = (axes.left + left) / 2 if wide else axes.left
        parts.append(tag("text", "generic", x=at, y=axes.top - 6, class_="tick mid" if wide else "tick"))
    if right < end:
        wide = end - right > NARROW
        at = (right + end) / 2 if wide else end
        parts.append(tag("text", "rare", x=at, y=axes.top - 6, class_="tick mid" if wide else "tick end"))
    return parts


def _limits(axes: Axes, report: Report) -> list[Markup]:
    """The two percentiles between which S lies, as lines with their names at the right end."""
    found = report.value("discriminative_features")
    if found is None:
        return []
    parts, free = [], axes.height  # what is above `free` has no text yet
    for end in ("lower", "upper"):
        share = value_of(found.parameters.get(f"{end}_percentile"))
        limit = value_of(found.parameters.get("frequency_low" if end == "lower" else "frequency_high"))
        if not np.isfinite([share, limit]).all():
            continue
        y = axes.y(limit)
        parts.append(tag("line", x1=axes.left, x2=axes.width - axes.right, y1=y, y2=y, class_="null"))
        free = min(y - 4, free - LABEL)
        words = f"{share:g}th percentile: {quantity(limit, '%')}"
        parts.append(tag("text", words, x=axes.width - axes.right, y=free, class_="tick end"))
    return parts


def _strip(axes: Axes, kept: BoolArray) -> Markup:
    """Below the axis, a bar under each run of kept features, to the pixel."""
    wide = axes.width - axes.left - axes.right
    pixel = np.unique(np.flatnonzero(kept) * wide // kept.size).astype(int)
    breaks = np.flatnonzero(np.diff(pixel) > max(1.0, wide / kept.size) + 1)
    step = max(1.0, wide / kept.size)
    starts, ends = np.r_[pixel[0], pixel[breaks + 1]], np.r_[pixel[breaks], pixel[-1]] + step
    y = axes.height - axes.bottom + 4
    runs = (f"M{axes.left + a:.1f},{y:g}H{axes.left + b:.1f}" for a, b in zip(starts, ends, strict=True))
    return tag("path", d="".join(runs), class_="line kept")


def _counts(curve: Ranked) -> dict[str, int]:
    d = curve.frequency.size
    first, last = curve.band or (0, 0)
    return {"d": d, "s": int(curve.in_s.sum()), "generic": first, "rare": d - last}


def _said(curve: Ranked) -> str:
    n = _counts(curve)
    if curve.band is None:
        return f"None of the {n['d']:,} features is discriminative: hardly any ever stands out of its image."
    never = int((curve.frequency == 0).sum())
    rare = f"{never:,} never do" if never == n["rare"] else f"{n['rare']:,} more rarely"
    return (
        f"{n['s']:,} of {n['d']:,} features are discriminative (S); {n['generic']:,} stand out more often, {rare}"
        + (f", {never:,} of them never." if 0 < never < n["rare"] else ".")
    )


def _caption(curve: Ranked, adapted: bool) -> str:
    rule: Any = (
        "far from the others of its image on either side (our rule for features of either sign)"
        if adapted
        else "far above the others of its image"
    )
    words = f"A feature stands out of an image where it is {rule}; the line is the share of images in which it does."
    if curve.band is not None:
        words += (
            " Features that respond to many images are generic, those that respond to hardly any are rare; S, the"
            " shaded band between two percentiles, is what a Q-Score looks at."
        )
    return words
