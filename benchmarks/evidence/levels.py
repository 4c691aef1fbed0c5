"""What the rules of `repdiag.verdicts` say of every encoder, so that nobody takes a limit on trust."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.evidence.reading import Evidence, Found, Page, listed, percent, table
from repdiag.metrics import METRICS
from repdiag.types import Interval, Level, Measurement, MetricResult, Null, Skipped, Verdict
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


def measurement(m: Mapping[str, Any]) -> Measurement:
    """A measurement as report.json holds it, back in the types that rules look at."""
    spec, outcome = METRICS.get(m["name"]).spec, m["outcome"]
    if "skipped" in outcome:
        return Measurement(spec, Skipped(outcome["skipped"]), 0.0)
    ends, null, classes = outcome["interval"], outcome["null"], outcome["per_class"]
    result = MetricResult(
        outcome["value"],
        Interval(ends["low"], ends["high"], ends["method"], ends["n"]) if ends else None,
        Null(null["name"], null["mean"], null["std"], null["n"]) if null else None,
        per_class=np.array(list(classes.values()), np.float64) if classes else None,
        table=tuple(outcome["table"] or ()),
        parameters=outcome["parameters"] or {},
    )
    return Measurement(spec, result, 0.0)


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
