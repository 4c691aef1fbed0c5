"""The page's figure of overlaps: every mean with its interval, its null and its control, on one axis per measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from repdiag.explaining.outputs import words
from repdiag.explaining.types import Measure, Overlaps, Quantity, Region
from repdiag.report.figure import Figure
from repdiag.report.numbers import number
from repdiag.report.svg import Axes, tag

ROW, HEAD, LEFT, RIGHT = 24.0, 26.0, 116.0, 54.0
CAPTIONS: dict[Measure, str] = {
    "iou": "How well the hot region (at least {t} of a map's maximum) and the mask cover each other, weighted by heat: "
    "1 is all of one in the other, 0 nothing.",
    "mass": "The share of a map's heat that lies inside. Where objects fill the picture a high share says nothing, so "
    "compare with the two nulls.",
}
TITLES: dict[Measure, str] = {"iou": "mIoU with the mask", "mass": "Heat inside the mask"}


def figures(found: Overlaps) -> list[Figure]:
    """A figure for each measure."""
    measures: tuple[Measure, ...] = ("iou", "mass")
    return [
        _figure(measure, [q for q in found.quantities if q.measure == measure], found.threshold)
        for measure in measures
        if any(q.measure == measure for q in found.quantities)
    ]


def _figure(measure: Measure, quantities: Sequence[Quantity], threshold: float) -> Figure:
    regions: list[Region] = list(dict.fromkeys(q.region for q in quantities))
    height = len(quantities) * ROW + len(regions) * HEAD + 62
    ends = [0.0]
    for q in quantities:
        ends += [q.value, *((q.interval.high,) if q.interval else ()), *((q.null.mean,) if q.null else ())]
        ends += [q.uniform] if q.uniform is not None else []
    axes = Axes(
        (0.0, min(1.0, 1.06 * max(ends)) or 1.0), (0.0, 1.0), height=height - 16, left=LEFT, right=RIGHT
    )
    parts = [axes.frame("mean over images", "", yticks=False)]
    y = 0.0
    for region in regions:
        parts.append(tag("text", words.region(region), x=0, y=y + 15, class_="label strong"))
        y += HEAD
        for q in quantities:
            if q.region == region:
                parts += _row(axes, q, y + ROW / 2)
                y += ROW
    legend = [
        ("main", "all, correct"),
        ("other", "misclassified"),
        ("hollow", "as many random features (control)"),
    ]
    rows: tuple[Mapping[str, Any], ...] = tuple(_cells(q) for q in quantities)
    title = TITLES[measure]
    return Figure(
        measure,
        title,
        axes.figure(f"{title}: means with 95% intervals and nulls; the numbers are below", *parts),
        CAPTIONS[measure].format(t=f"{threshold:g}")
        + " Bars are 95% intervals; the dashed line is the mask of another image, the dotted one a map that is the "
        "same everywhere.",
        tuple(one for one in legend if _used(one[0], quantities)),
        rows,
    )


def _used(kind: str, quantities: Sequence[Quantity]) -> bool:
    kinds = {
        "hollow" if q.features == "random" else "other" if q.group == "misclassified" else "main"
        for q in quantities
    }
    return kind in kinds


def _row(axes: Axes, q: Quantity, y: float) -> list[Any]:
    other = q.group == "misclassified"
    parts = [tag("text", words.title(q), x=LEFT - 10, y=y + 4, class_="label end")]
    if q.uniform is not None:
        x = axes.x(q.uniform)
        parts.append(tag("line", x1=x, x2=x, y1=y - 9, y2=y + 9, class_="uniform"))
    if q.null is not None:
        x = axes.x(q.null.mean)
        parts.append(tag("line", x1=x, x2=x, y1=y - 9, y2=y + 9, class_="null"))
    if q.interval is not None:
        low, high = axes.x(max(0.0, q.interval.low)), axes.x(q.interval.high)
        parts.append(
            tag("rect", x=low, y=y - 6, width=max(1.0, high - low), height=12, rx=1,
                class_="interval" + (" other" if other else ""))
        )  # fmt: skip
    kind = "hollow" if q.features == "random" else "dot other" if other else "dot"
    parts.append(tag("circle", cx=axes.x(q.value), cy=y, r=3.5, class_=kind))
    parts.append(tag("text", number(q.value), x=axes.width, y=y + 4, class_="tick end"))
    return parts


def _cells(q: Quantity) -> dict[str, Any]:
    return {
        "quantity": words.heading(q.measure, q.region),
        "images": words.title(q),
        "mean": q.value,
        "low": None if q.interval is None else q.interval.low,
        "high": None if q.interval is None else q.interval.high,
        "n": q.n,
        "other masks": None if q.null is None else q.null.mean,
        "std": None if q.null is None else q.null.std,
        "uniform": q.uniform,
    }
