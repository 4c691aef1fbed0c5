"""Figures that are curves over a share: compression, reliability of the risk, accuracy without the riskiest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from repdiag.report.figure import Figure, complete, value_of
from repdiag.report.numbers import is_missing
from repdiag.report.svg import Axes, tag
from repdiag.types import Report

Line = list[tuple[float, float]]
LINES = ("line", "line other dashed", "line third dotted", "line fourth dash-dot", "line soft long-dash")
"""Classes of the lines of one figure: each differs from the others in dash as well as in color."""
PLAIN = "line soft dashed"
"""What there is to beat: gray, for the color of errors is kept for errors."""


def _column(rows: Sequence[Mapping[str, Any]], x: str, y: str) -> Line:
    """The points of a column, without those that are missing."""
    points = [(float(row[x]), value_of(row.get(y))) for row in rows]
    return [point for point in points if np.isfinite(point[1])]


def _band(rows: Sequence[Mapping[str, Any]], x: str, low: str = "low", high: str = "high") -> Line:
    """The outline of an interval: its lower ends and back along the upper ones."""
    known = [row for row in rows if np.isfinite([value_of(row.get(low)), value_of(row.get(high))]).all()]
    return _column(known, x, low) + _column(known, x, high)[::-1]


def _limits(lines: Iterable[Line]) -> tuple[float, float]:
    """The range of shares that is drawn, with some room (less of it above 100%)."""
    values = [y for line in lines for _, y in line]
    low, high = min(values), max(values)
    span = high - low or 0.1
    return max(0.0, low - 0.08 * span), min(1.0 + 0.05 * span, high + 0.08 * span)


def _axes(xlim: tuple[float, float], ylim: tuple[float, float]) -> Axes:
    """Axes with room between the title of the upright one and its first number."""
    return Axes(xlim, ylim, height=290, top=26)


def _dots(axes: Axes, line: Line) -> list[Markup]:
    return [tag("circle", cx=axes.x(x), cy=axes.y(y), r=3, class_="dot") for x, y in line]


def compression(report: Report) -> Figure | None:
    """Probe accuracy against the share of features kept, beside other ways to keep as many."""
    rows = sorted(complete(report.value("compression"), "kept", "accuracy"), key=lambda row: row["kept"])
    if len(rows) < 2:
        return None
    ours, band = _column(rows, "kept", "accuracy"), _band(rows, "kept")
    random = [
        {
            "kept": row["kept"],
            "low": row["random_mean"] - row["random_std"],
            "high": row["random_mean"] + row["random_std"],
        }
        for row in rows
        if np.isfinite([value_of(row.get("random_mean")), value_of(row.get("random_std"))]).all()
    ]
    spread = _band(random, "kept")
    others = [
        (class_, said, _column(rows, "kept", name))
        for class_, name, said in (
            (PLAIN, "random_mean", "random features, as many"),
            (LINES[2], "top_variance", "features of the largest variance"),
            (LINES[3], "pca", "principal components (PCA)"),
        )
    ]
    others = [(class_, said, line) for class_, said, line in others if line]
    axes = _axes((ours[0][0], ours[-1][0]), _limits([ours, band, spread, *(line for *_, line in others)]))
    parts = [axes.frame("share of features kept", "probe accuracy", xunit="share", yunit="share")]
    parts.append(axes.path(spread, "area soft", closed=True))
    parts.append(axes.path(band, "area", closed=True))
    parts += [axes.path(line, class_) for class_, _, line in reversed(others)]
    parts += [axes.path(ours, LINES[0]), *_dots(axes, ours), *_choice(axes, report, rows)]
    legend = [(LINES[0], "features chosen by activation frequency")]
    legend += [(class_, said) for class_, said, _ in others]
    caption = (
        "A new linear probe on fewer and fewer features. Above the dashed line, choosing features by their"
        " activation frequency beats choosing at random."
    )
    if any(class_ == LINES[3] for class_, *_ in others):
        caption += (
            " PCA may mix all features into each component, so it is a ceiling and not a choice of features."
        )
    return Figure(
        "compression",
        "Compression",
        axes.figure("Accuracy against share of features kept", *parts),
        caption + " Shaded: 95% interval, and one standard deviation of the random sets.",
        tuple(legend),
        tuple(rows),
    )


def _choice(axes: Axes, report: Report, rows: Sequence[Mapping[str, Any]]) -> list[Markup]:
    """A line and a ring at the smallest share that is within a point of all features, and how many it is."""
    found = report.value("smallest_subset")
    if found is None:
        return []
    row = next((row for row in rows if abs(float(row["kept"]) - found.value) < 1e-9), None)
    if row is None or found.value >= 1 or is_missing(row.get("features")):
        return []
    x, y = axes.x(found.value), axes.y(float(row["accuracy"]))
    floor, words = axes.height - axes.bottom, f"{row['features']} features"
    last = found.value > sum(axes.xlim) / 2
    return [
        tag("line", x1=x, x2=x, y1=axes.top, y2=floor, class_="chosen"),
        tag("circle", cx=x, cy=y, r=6, class_="hollow"),
        tag("circle", cx=x, cy=y, r=3, class_="dot"),
        tag("text", words, x=x - 6 if last else x + 6, y=floor - 7, class_="label end" if last else "label"),
    ]


def reliability(report: Report) -> Figure | None:
    """The share of errors against the risk that was said, in bins of equal count."""
    rows = complete(report.value("risk_brier"), "predicted", "observed")
    if not rows:
        return None
    line = _column(rows, "predicted", "observed")
    highest = max([y for _, y in line + _column(rows, "predicted", "high")] + [x for x, _ in line])
    lowest = min([y for _, y in line + _column(rows, "predicted", "low")] + [x for x, _ in line])
    top = min(1.0, 1.06 * highest) or 1.0
    start = (
        0.9 * lowest if lowest > top / 2 else 0.0
    )  # where errors are the rule, zero is far from all there is
    axes = _axes((start, top), (start, top))
    parts = [
        axes.frame("risk, as it was said", "share misclassified", xunit="share", yunit="share"),
        axes.path([(start, start), (top, top)], "line soft dashed"),
    ]
    for row in rows:
        low, high = value_of(row.get("low")), value_of(row.get("high"))
        if np.isfinite([low, high]).all():
            x = axes.x(float(row["predicted"]))
            parts.append(
                tag("line", x1=x, x2=x, y1=axes.y(min(low, top)), y2=axes.y(min(high, top)), class_="whisker")
            )
    parts += [axes.path(line, "line thin"), *_dots(axes, line)]
    return Figure(
        "reliability",
        "Can the risk be read as a probability?",
        axes.figure("Share misclassified against the risk", *parts),
        f"Images in {len(rows)} groups of equal size, from the lowest risk up; bars are 95% intervals. On the dashed"
        " diagonal as many are misclassified as the risk says; below it the risk is too high, above it too low.",
        (),
        tuple(rows),
    )


def selective(report: Report) -> Figure | None:
    """Accuracy of what is left when the riskiest images are set aside."""
    rows = sorted(
        complete(report.value("selective_accuracy"), "set_aside", "accuracy"), key=lambda r: r["set_aside"]
    )
    if not rows:
        return None
    start = _column(rows[:1], "set_aside", "random")
    begin = [(0.0, y) for _, y in start]  # with nothing set aside all have the plain accuracy
    ours, band = begin + _column(rows, "set_aside", "accuracy"), _band(rows, "set_aside")
    if begin and band:
        band = begin + band
    others = [
        (class_, said, _column(rows, "set_aside", name))
        for class_, name, said in (
            (PLAIN, "random", "setting any aside: the plain accuracy"),
            (LINES[2], "q_score", "by Q-Score"),
            (LINES[3], "confidence", "by the probe's own confidence (needs labels)"),
            (LINES[4], "oracle", "all errors first: the limit"),
        )
    ]
    others = [(class_, said, begin + line) for class_, said, line in others if line]
    axes = _axes((ours[0][0], ours[-1][0]), _limits([ours, band, *(line for *_, line in others)]))
    parts = [
        axes.frame("share set aside, riskiest first", "accuracy of the rest", xunit="share", yunit="share")
    ]
    parts.append(axes.path(band, "area", closed=True))
    parts += [axes.path(line, class_) for class_, _, line in reversed(others)]
    parts += [axes.path(ours, LINES[0]), *_dots(axes, ours)]
    legend = [(LINES[0], "by the risk"), *((class_, said) for class_, said, _ in others)]
    return Figure(
        "selective",
        "Accuracy without the riskiest images",
        axes.figure("Accuracy of the rest against the share set aside", *parts),
        "The linear probe's accuracy on what is left when the images with the highest risk are set aside. The further"
        " the line lies above the dashed one, the more the risk is worth. Shaded: 95% interval.",
        tuple(legend),
        tuple(rows),
    )
