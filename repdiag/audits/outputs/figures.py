"""The two curves of an audit: errors caught, and accuracy of the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from repdiag.audits.types import Audit
from repdiag.report.curves import LINES
from repdiag.report.figure import Figure
from repdiag.report.svg import Axes, tag

Line = list[tuple[float, float]]


def figures(audit: Audit) -> list[Figure]:
    """Both curves, or none where no error is known."""
    columns = audit.curve.columns
    if not columns:
        return []
    rows = tuple(
        dict(zip(columns, row, strict=True))
        for row in zip(*(c.tolist() for c in columns.values()), strict=True)
    )
    at = next((row for row in rows if row["reviewed"] == audit.parameters.get("budget")), rows[-1])
    return [_caught(rows, at), _accuracy(rows, at)]


def _line(rows: Sequence[Mapping[str, Any]], name: str, x: str = "share") -> Line:
    return [(row[x], row[name]) for row in rows if np.isfinite(row[name])]


def _band(rows: Sequence[Mapping[str, Any]], name: str, x: str = "share") -> Line:
    return _line(rows, f"{name}_low", x) + _line(rows, f"{name}_high", x)[::-1]


def _caught(rows: tuple[Mapping[str, Any], ...], at: Mapping[str, Any]) -> Figure:
    errors = rows[-1]["reviewed"] * (1 - rows[0]["accuracy"])
    limit = [(0.0, 0.0), (errors / rows[-1]["reviewed"], 1.0), (1.0, 1.0)]
    axes = Axes((0.0, 1.0), (0.0, 1.04))
    expected = _line(rows, "expected")
    parts = [
        axes.frame(
            "share reviewed, riskiest first", "share of all errors caught", xunit="share", yunit="share"
        ),
        axes.path(_band(rows, "caught"), "area", closed=True),
        axes.path([(0.0, 0.0), (1.0, 1.0)], LINES[1]),
        axes.path(limit, LINES[4]),
        axes.path(expected, LINES[2]),
        axes.path(_line(rows, "caught"), LINES[0]),
        tag("circle", cx=axes.x(at["share"]), cy=axes.y(at["caught"]), r=4.5, class_="hollow"),
    ]
    legend = [(LINES[0], "by the risk"), (LINES[1], "at random"), (LINES[4], "all errors first: the limit")]
    if expected:
        legend.insert(1, (LINES[2], "as the risks themselves expect"))
    return Figure(
        "caught",
        "Errors caught",
        axes.figure("Share of errors caught against the share reviewed", *parts),
        "Among images with a label: of all that the probe gets wrong, how many are within the first so many of the"
        " list. The ring is this list. Shaded: 95% interval over resampled images.",
        tuple(legend),
        rows,
    )


def _accuracy(rows: tuple[Mapping[str, Any], ...], at: Mapping[str, Any]) -> Figure:
    ours = _line(rows, "accuracy", "coverage")
    values = [y for _, y in ours + _band(rows, "accuracy", "coverage")]
    low = max(0.0, min(values) - 0.08 * (1 - min(values)))
    axes = Axes((0.0, 1.0), (low, 1.0 + 0.03 * (1 - low)))
    plain = rows[0]["accuracy"]
    parts = [
        axes.frame("coverage: share that is not reviewed", "accuracy of it", xunit="share", yunit="share"),
        axes.path(_band(rows, "accuracy", "coverage"), "area", closed=True),
        axes.path([(0.0, plain), (1.0, plain)], LINES[1]),
        axes.path(ours, LINES[0]),
    ]
    if np.isfinite(at["accuracy"]):
        parts.append(
            tag("circle", cx=axes.x(at["coverage"]), cy=axes.y(at["accuracy"]), r=4.5, class_="hollow")
        )
    return Figure(
        "coverage",
        "Coverage and accuracy",
        axes.figure("Accuracy of what is not reviewed against its share", *parts),
        "The linear probe's accuracy on the images with the lowest risks, the riskiest set aside. The ring is this"
        " list. Shaded: 95% interval over resampled images.",
        ((LINES[0], "by the risk"), (LINES[1], "the plain accuracy")),
        rows,
    )
