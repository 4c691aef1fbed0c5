"""A first rules file, from a report: what it reaches today, minus its noise."""

from __future__ import annotations

import json
import math

from repdiag.gate.quantities import Absent, Quantity, class_names, find
from repdiag.gate.types import ClassValue, MetricValue, SampleShare
from repdiag.types import Direction, MetricSpec, Report

LEVEL = 0.99
"""Limits are ends of intervals of this level: wider than those that rules are judged by, so the same report passes."""

RISKY = 0.9

HEADER = """\
# Rules for `repdiag gate REPORT --rules repdiag.toml`, made by `repdiag gate --init`.
# Every key: docs/reference/gate-rules.md.
#
# Limits are what {name} reached{on}, minus noise:
# the far end of a {level:g} % interval, rounded outward. Make them what you need; delete what you do not care about.
# A rule passes or fails only where its one-sided confidence bound says so, and is undetermined in between.
"""

DEFAULTS = """\
[gate]
confidence = 0.95              # of each rule; 0: the bare value decides, noise or not
undetermined = "undetermined"  # or "pass" or "fail": what counts where the samples are too few to tell
"""

CHANGES = """\
# Against a baseline (--baseline REPORT), paired image by image where both were scored on the same images.
# Take the # off the lines that begin with one and no blank.

#[[rule]]
#name = "no worse than the baseline"
#metric = {metric}
#change_at_least = {change}  # 0: fails on any fall that is told from noise; below 0: so much may be lost

#[[rule]]
#name = "no class falls"
#class = "*"
#column = "accuracy"
#change_at_least = -0.05

#[[rule]]
#name = "rank"
#metric = "rankme"
#relative_change_at_least = -0.1
"""


def rules_from(report: Report) -> str:
    """The text of a commented rules file that `parse_rules` reads and that `report` passes.

    One absolute rule for each headline metric that has a better direction and an interval, on the far end of a 99 %
    interval, rounded outward; one for the accuracy of every class and one for the number of samples with a risk above
    0.9, where the report knows them; rules of change, commented out. That the limits are where they are is ours. A
    later encoder that is as good seldom fails; scored on other images it may be undetermined, because both reports'
    noise then stands between it and the limit.
    """
    name, dataset = (_quoted(part.get("name", "")) for part in (report.encoder, report.dataset))
    on = f" on {dataset}" + (f" ({len(report.samples):,} samples)" if len(report.samples) else "")
    parts = [HEADER.format(name=name or "a report", on=on if dataset else "", level=100 * LEVEL), DEFAULTS]
    made = [_metric(report, m.spec) for m in report.measurements if m.spec.headline]
    made += [_classes(report), _risk(report)]
    rules = [text for text in made if text]
    if not any("\n[[rule]]" in f"\n{text}" for text in rules):
        rules.append(_fallback(report))
    labeled = report.value("linear_probe_accuracy") is not None
    first = next((m.spec.name for m in report.measurements if m.spec.headline), "rankme")
    metric, change = ("linear_probe_accuracy", "-0.01") if labeled else (first, "0")
    parts += [*rules, CHANGES.format(metric=json.dumps(metric), change=change)]
    return "\n".join(parts)


def _metric(report: Report, spec: MetricSpec) -> str:
    found = find(report, MetricValue(spec.name))
    if isinstance(found, Absent):
        return f"# No rule for {spec.name}: {_plain(found.reason)}.\n"
    if spec.direction is Direction.NEITHER:
        return f"# No rule for {spec.name}, {found.value:.4g} here: neither higher nor lower is better.\n"
    at_least = spec.direction is Direction.HIGHER
    end = _end(found, at_least)
    if not math.isfinite(end):
        return f"# No rule for {spec.name}, {found.value:.4g} here: it has no interval.\n"
    if end <= spec.low if at_least else end >= spec.high:
        return (
            f"# No rule for {spec.name}, {found.value:.4g} here: its interval reaches the end of its range.\n"
        )
    key = "at_least" if at_least else "at_most"
    limit = _outward(end, found.value, at_least)
    return _rule(found, [f"metric = {json.dumps(spec.name)}"], key, limit)


def _classes(report: Report) -> str:
    subjects = [(name, find(report, ClassValue(name, "accuracy"))) for name in class_names(report)]
    known = [(_end(found, True), name, found) for name, found in subjects if isinstance(found, Quantity)]
    if not known or len(known) < len(subjects):
        return ""
    end, name, found = min(known, key=lambda one: one[:2])
    if not math.isfinite(end) or end <= 0:
        return (
            f"# No rule for every class: the samples of {_quoted(name)} are too few to tell its accuracy.\n"
        )
    lines = ['class = "*"  # each of them', 'column = "accuracy"']
    return f"# The class that is worst off is {_quoted(name)}.\n" + _rule(
        found, lines, "at_least", _outward(end, found.value, True), "no class worse than"
    )


def _risk(report: Report) -> str:
    found = find(report, SampleShare("risk", True, RISKY, True))
    if isinstance(found, Absent):
        return f"# No rule for the risk: {_plain(found.reason)}.\n"
    end = _end(found, False)
    lines = ['samples = "risk"', f"above = {RISKY:g}"]
    return _rule(found, lines, "count_at_most", f"{math.ceil(end)}", "not too many risky samples")


def _fallback(report: Report) -> str:
    """A rule on a bare value, where nothing has an interval: a file without rules would not be one."""
    for m in report.measurements:
        found = find(report, MetricValue(m.spec.name))
        if isinstance(found, Quantity) and m.spec.direction is not Direction.NEITHER:
            key = "at_least" if m.spec.direction is Direction.HIGHER else "at_most"
            lines = [
                f"metric = {json.dumps(m.spec.name)}",
                "confidence = 0  # nothing tells how far it may be off",
            ]
            return _rule(found, lines, key, repr(found.value))
    return "# Nothing in this report has a better direction: write a rule before you use this file.\n"


def _end(found: Quantity, at_least: bool) -> float:
    at = (1 + LEVEL) / 2
    return found.estimate.low(at) if at_least else found.estimate.high(at)


def _outward(end: float, value: float, at_least: bool) -> str:
    """`end` with decimals that fit its distance from `value`, rounded away from it."""
    half = abs(value - end) or max(abs(end), 1e-9) * 1e-3
    decimals = min(15, max(0, 1 - math.floor(math.log10(half))))
    scale = 10.0**decimals
    rounded = (math.floor(end * scale) if at_least else math.ceil(end * scale)) / scale
    return f"{rounded:.{decimals}f}"


def _rule(found: Quantity, lines: list[str], key: str, limit: str, name: str = "") -> str:
    named = [f"name = {json.dumps(name)}"] if name else []
    unit = f" {found.unit}" if found.unit else ""
    today = f"# {found.value:.4g}{unit} today"
    return "\n".join(["[[rule]]", *named, *lines, f"{key} = {limit}  {today}"]) + "\n"


def _quoted(text: object) -> str:
    """Foreign text for a comment: in quotes, control characters and line ends escaped."""
    return json.dumps(str(text)) if text else ""


def _plain(text: str) -> str:
    """A sentence's text for a comment: what could end the line is escaped."""
    return json.dumps(text, ensure_ascii=True)[1:-1]
