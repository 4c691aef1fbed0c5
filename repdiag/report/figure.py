"""What a figure of the page is, and how the rows that it draws are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from repdiag.report.numbers import is_missing
from repdiag.types import MetricResult


@dataclass(frozen=True)
class Figure:
    """A drawing with its heading, the sentence below it and its key (class name of the mark, text).

    `said` is what this report's numbers say, in one or two sentences above the drawing; `caption` how to read it.
    """

    key: str
    title: str
    svg: Markup
    caption: str
    legend: tuple[tuple[str, str], ...] = ()
    rows: tuple[Mapping[str, Any], ...] = ()
    said: str = ""


def complete(found: MetricResult | None, *keys: str) -> list[Mapping[str, Any]]:
    """The rows of a measurement's table that have all of `keys`."""
    rows = () if found is None else found.table
    return [row for row in rows if not any(is_missing(row.get(key)) for key in keys)]


def value_of(value: Any) -> float:
    """A cell as a number, NaN where it is missing."""
    return float("nan") if is_missing(value) else float(value)
