"""The words that rules of `advice` share: shares, intervals and commands."""

from __future__ import annotations

from repdiag.showing.advice_facts import REPORT, Facts
from repdiag.types import MetricResult
from repdiag.verdicts import ends


def percent(share: float) -> str:
    """ "41%"."""
    return f"{100 * share:.0f}%"


def points(share: float) -> str:
    """ "41.2%"."""
    return f"{100 * share:.1f}%"


def between(result: MetricResult) -> str:
    """A share with its interval."""
    low, high = ends(result)
    return f"{points(result.value)} [{points(low)}, {points(high)}]"


def command(*words: str | None) -> str | None:
    """The words of a command behind `repdiag`; None where one of them is not known."""
    return None if None in words else " ".join(["repdiag", *(word for word in words if word is not None)])


def audit(facts: Facts, budget: int | None = None) -> str:
    """The command that lists what to review, with pictures where the images are known."""
    data = "" if facts.images is None else f" --data {facts.images}"
    return f"repdiag audit {REPORT}{data}" + ("" if budget is None else f" --budget {budget}")


def rounded(number: float) -> int:
    """Two digits: an estimate is no count."""
    digits = max(0, len(str(int(number))) - 2)
    scale: int = 10**digits
    return round(number / scale) * scale
