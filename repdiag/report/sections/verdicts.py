"""The verdict in one sentence, family by family, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from repdiag.exhibits import Advice
from repdiag.report.grids import text
from repdiag.report.sections.section import Section, Written
from repdiag.types import Finding, Level, Report, Verdict

HOMES = {"crowding": "crowding", "stability": "stability", "features": "features", "risk": "risk"}
"""Families with a section of their own; the others are found among the metrics."""

NUMBERS = {1: "One thing", 2: "Two things", 3: "Three things"}


@dataclass(frozen=True)
class Family:
    """A verdict as the page lists it; `places` are ids that may show its evidence, the best first."""

    name: str
    level: Level
    reason: str
    findings: tuple[Finding, ...]
    places: tuple[str, ...]

    @property
    def more(self) -> bool:
        """Whether the rules say more than the reason does."""
        return [finding.reason for finding in self.findings] not in ([], [self.reason])


@dataclass(frozen=True)
class View:
    """The sentence, the families, and the advice with its heading."""

    summary: str
    families: tuple[Family, ...]
    advice: tuple[Advice, ...]
    next_title: str


def view(report: Report, written: Written) -> View | None:
    """None without verdicts and advice."""
    if not report.verdicts and not report.exhibits.advice:
        return None
    advice = report.exhibits.advice
    return View(
        summary(report.verdicts),
        tuple(_family(verdict) for verdict in report.verdicts),
        advice,
        f"{NUMBERS.get(len(advice), f'{len(advice)} things')} to do next",
    )


def _family(verdict: Verdict) -> Family:
    home = HOMES.get(verdict.family)
    places = (*((home,) if home else ()), f"family-{verdict.family}")
    return Family(family_name(verdict.family), verdict.level, text(verdict.reason), verdict.findings, places)


def family_name(family: str) -> str:
    """A family as a title: "Probes"."""
    return text(family.replace("_", " ").capitalize())


def summary(verdicts: Sequence[Verdict]) -> str:
    """All verdicts in one sentence, worst named first; "" where there are none.

    >>> good, watch = Verdict("probes", Level.GOOD, ""), Verdict("risk", Level.WATCH, "")
    >>> summary((good, watch))
    '1 of 2 families is good; watch risk.'
    """
    if not verdicts:
        return ""
    of = {level: [text(v.family.replace("_", " ")) for v in verdicts if v.level is level] for level in Level}
    good, total = len(of[Level.GOOD]), len(verdicts)
    if good == total:
        return "All that was judged is good: " + _listed(of[Level.GOOD]) + "."
    parts = [f"{good or 'None'} of {total} families {'is' if good < 2 else 'are'} good"]
    if total == 1:
        parts = []
    if of[Level.POOR]:
        parts.append(f"{_listed(of[Level.POOR])} came out poor")
    if of[Level.WATCH]:
        parts.append(f"watch {_listed(of[Level.WATCH])}")
    if of[Level.UNDETERMINED]:
        parts.append(f"{_listed(of[Level.UNDETERMINED])} stayed undetermined")
    said = "; ".join(parts)
    return said[0].upper() + said[1:] + "."


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


SECTION = Section("verdicts", "Verdict", view, ("verdicts.css",))
