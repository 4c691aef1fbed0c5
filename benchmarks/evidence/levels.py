"""What the rules of `repdiag.verdicts` say of every encoder, so that nobody takes a limit on trust."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from benchmarks.evidence.reading import Evidence, Found, Page, listed, percent, table
from repdiag.report.reading import measurement
from repdiag.types import Level, Verdict
from repdiag.verdicts import RULES, verdicts

PROBE = "linear_probe_accuracy"
QUESTION = (
    "A verdict follows from limits that are conventions. Do they tell these encoders apart, and which families say "
    "the same of all?"
)
FAMILIES = tuple(dict.fromkeys(rule.family for rule in RULES))


def page(evidence: Evidence) -> Page:
    """verdicts.md."""
    body = [_how()]
    for images in evidence.images:
        runs = [(f, said(f)) for f in evidence.of(images)]
        runs.sort(key=lambda run: -(run[0].value(PROBE) or 0.0))
        body += [f"## {images.title}\n"]
        if len(runs) > 1:
            body.append(_reading([v for _, v in runs]))
        body.append(_table(runs))
    return Page("verdicts.md", "Verdicts", QUESTION, "\n".join(body))


def _how() -> str:
    return """The rules are in [the reference](../reference/verdicts.md). They are applied here to the reports of all
runs; encoders are sorted by the accuracy of the linear probe.
"""


def said(found: Found) -> dict[str, Verdict]:
    """The verdicts on one run by family."""
    return {v.family: v for v in verdicts([measurement(m) for m in found.report["measurements"]])}


def _reading(runs: Sequence[Mapping[str, Verdict]]) -> str:
    """Which families tell these encoders apart."""
    levels = {family: Counter(v[family].level for v in runs if family in v) for family in FAMILIES}
    alike = [f"{family} ({next(iter(count)).value})" for family, count in levels.items() if len(count) == 1]
    apart = [
        f"{family} ({', '.join(f'{n} {level.value}' for level in Level if (n := count[level]))})"
        for family, count in levels.items()
        if len(count) > 1
    ]
    return (
        f"Of {len(runs)} encoders these families say different things: {listed(apart)}. "
        f"The same of all: {listed(alike)}.\n"
    )


def _table(runs: Sequence[tuple[Found, Mapping[str, Verdict]]]) -> str:
    rows = [
        [f.encoder.title, percent(f.value(PROBE)), *(v[k].level.value if k in v else "-" for k in FAMILIES)]
        for f, v in runs
    ]
    return table(("encoder", "probe", *FAMILIES), rows)
