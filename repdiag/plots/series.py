"""What the figures draw, read from a report's tables: points, bands, and rows of a forest. Nothing is computed.

The page's own figures read and draw at once (repdiag/report/curves.py); where one of them hands out its rows
(`Figure.rows`), those are taken, so that a figure in a paper and the page show the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from repdiag.report.figure import complete, value_of
from repdiag.types import Interval, Null, Report

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Series:
    """A line: `said` is its entry in the key, `kind` its place in the style (0 is what the figure is about)."""

    said: str
    kind: int
    x: Doubles
    y: Doubles


@dataclass(frozen=True)
class Band:
    """An area between two lines over `x`."""

    x: Doubles
    low: Doubles
    high: Doubles


@dataclass(frozen=True)
class Row:
    """A row of a forest; `open` is drawn hollow, `strong` is named in bold."""

    name: str
    value: float
    low: float = float("nan")
    high: float = float("nan")
    null: Null | None = None
    open: bool = False
    strong: bool = False


def points(rows: Sequence[Mapping[str, Any]], x: str, y: str) -> tuple[Doubles, Doubles]:
    """The points of a column, without those that are missing."""
    found = [(float(row[x]), value_of(row.get(y))) for row in rows]
    kept = np.array([point for point in found if np.isfinite(point[1])], np.float64).reshape(-1, 2)
    return kept[:, 0], kept[:, 1]


def band(rows: Sequence[Mapping[str, Any]], x: str, low: str = "low", high: str = "high") -> Band:
    """The interval of a column, where both of its ends are known."""
    known = [row for row in rows if np.isfinite([value_of(row.get(low)), value_of(row.get(high))]).all()]
    return Band(*(np.array([float(row[name]) for row in known], np.float64) for name in (x, low, high)))


def started(series: Series, begin: float | None) -> Series:
    """The line with a first point at 0, where it begins for all."""
    if begin is None or not series.x.size:
        return series
    return Series(series.said, series.kind, np.r_[0.0, series.x], np.r_[begin, series.y])


def lines(rows: Sequence[Mapping[str, Any]], x: str, wanted: Sequence[tuple[str, str, int]]) -> list[Series]:
    """Lines of columns (name, entry in the key, kind), those that have points."""
    made = (Series(said, kind, *points(rows, x, name)) for name, said, kind in wanted)
    return [one for one in made if one.x.size]


COMPRESSION = (
    ("accuracy", "features chosen by activation frequency", 0),
    ("random_mean", "random features, as many", 1),
    ("top_variance", "features of the largest variance", 2),
    ("pca", "principal components (PCA)", 3),
)
SELECTIVE = (
    ("accuracy", "by the risk", 0),
    ("random", "setting any aside: the plain accuracy", 1),
    ("q_score", "by Q-Score", 2),
    ("confidence", "by the probe's own confidence (needs labels)", 3),
    ("oracle", "all errors first: the limit", 4),
)
"""Columns of the metrics' tables, what the key calls them, and their kind."""


def compression(report: Report) -> tuple[list[Series], Band, Band] | None:
    """Accuracy by the share of features kept, its interval, and one standard deviation of the random sets."""
    rows = sorted(complete(report.value("compression"), "kept", "accuracy"), key=lambda row: row["kept"])
    if len(rows) < 2:
        return None
    spread = [
        {"kept": row["kept"], "low": mean - std, "high": mean + std}
        for row in rows
        if np.isfinite(
            [mean := value_of(row.get("random_mean")), std := value_of(row.get("random_std"))]
        ).all()
    ]
    return lines(rows, "kept", COMPRESSION), band(rows, "kept"), band(spread, "kept")


def selective(report: Report) -> tuple[list[Series], Band] | None:
    """Accuracy of the rest by the share set aside, and the interval of the risk's; all begin at the plain accuracy."""
    rows = complete(report.value("selective_accuracy"), "set_aside", "accuracy")
    rows = sorted(rows, key=lambda row: row["set_aside"])
    if not rows:
        return None
    first = value_of(rows[0].get("random"))
    begin = float(first) if np.isfinite(first) else None
    found, interval = lines(rows, "set_aside", SELECTIVE), band(rows, "set_aside")
    if begin is not None and interval.x.size:
        interval = Band(
            *(np.r_[v, a] for v, a in zip((0.0, begin, begin), vars(interval).values(), strict=True))
        )
    return [started(one, begin) for one in found], interval


def ends(interval: Interval | None) -> tuple[float, float]:
    """The ends of an interval, NaN without one."""
    return (float("nan"),) * 2 if interval is None else (interval.low, interval.high)
