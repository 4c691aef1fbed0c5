"""How numbers are written for people: one rule for the terminal and the HTML page.

Shares are shown in percent; the files hold the plain number (0.912 is shown as 91.2%).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from repdiag.types import Direction, Interval, MetricResult, Null

MISSING = "–"
ARROWS = {Direction.HIGHER: "↑", Direction.LOWER: "↓", Direction.NEITHER: "·"}
WORDS = {
    Direction.HIGHER: "higher is better",
    Direction.LOWER: "lower is better",
    Direction.NEITHER: "no better direction",
}


def is_missing(value: Any) -> bool:
    """Whether a table's cell is empty: None, NaN or infinite."""
    return value is None or (isinstance(value, float | np.floating) and not math.isfinite(value))


def exact(value: Any) -> str:
    """The shortest text that reads back as the very same number, "" when it is missing."""
    return "" if is_missing(value) else str(value)


def decimals(value: float) -> int:
    """Digits behind the point that keep about three or four that matter."""
    size = abs(value)
    return 3 if size < 10 else 2 if size < 100 else 1 if size < 1000 else 0


def number(value: Any, unit: str = "", *, like: float | None = None) -> str:
    """`value` without its unit sign; with no more decimals than `like`, the number it stands beside."""
    if is_missing(value):
        return MISSING
    value = float(value)
    if unit in ("share", "%"):
        factor = 100 if unit == "share" else 1
        size = abs(factor * float(value if like is None else like))
        digits = 1 if size == 0 or size >= 0.095 else min(8, 1 - math.floor(math.log10(size)))
        return f"{factor * value:.{digits}f}"
    if unit and value.is_integer() and (like is None or float(like).is_integer()):
        return f"{value:,.0f}"  # a count: "231", not "231.0"
    if 0 < abs(value) < 0.0005 and (like is None or abs(like) < 0.0005):
        return f"{value:.1e}"
    text = f"{value:,.{min(decimals(value), decimals(value if like is None else like))}f}"
    return text.removeprefix("-") if float(text.replace(",", "")) == 0 else text


def quantity(value: Any, unit: str = "") -> str:
    """`value` with its unit: "91.2%", "231 features", "0.734"."""
    text = number(value, unit)
    if text == MISSING:
        return text
    if unit in ("share", "%"):
        return text + "%"
    return f"{text} {unit}" if unit else text


def interval_text(interval: Interval | None, unit: str, value: float) -> str:
    """ "[0.905, 0.918]" with the decimals of `value`, "" without an interval."""
    if interval is None:
        return ""
    return f"[{number(interval.low, unit, like=value)}, {number(interval.high, unit, like=value)}]"


def null_text(null: Null | None, unit: str, value: float) -> str:
    """ "0.100 ± 0.002" with no more decimals than `value`, "10.0 ± 0.2%" for shares, "" without a null.

    Beside a value that needs no decimals (2,067) a small null keeps its own (1.000 ± 0.163).
    """
    if null is None:
        return ""
    size = max(null.mean, null.std, key=abs)
    like = size if unit not in ("share", "%") and decimals(value) == 0 else value
    spread = number(null.std, unit, like=size)
    return f"{number(null.mean, unit, like=like)} ± {spread}" + ("%" if unit in ("share", "%") else "")


def z_score(result: MetricResult) -> float | None:
    """How many standard deviations of the null the value lies from the null's mean; None without a spread."""
    if result.null is None or result.null.std == 0:
        return None
    z = (result.value - result.null.mean) / result.null.std
    return z if math.isfinite(z) else None
