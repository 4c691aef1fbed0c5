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
"""

CHANGED = 6
"""Images by which a class may get worse: with fewer the same encoder under another seed would be undetermined."""

CLASSES = """\
# The smallest class has {n} images.
#[[rule]]
#name = "no class falls"
#class = "*"
#column = "accuracy"
#change_at_least = -{loss:g}
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
    return "\n".join([*parts, *rules, *_changes(report)])


def _changes(report: Report) -> list[str]:
    """Rules of change, commented out: accuracy where it is known, every class, and how much of the space is in use."""
    known = {m.spec.name: m.spec for m in report.measurements if report.value(m.spec.name) is not None}
    accuracy, rank = known.get("linear_probe_accuracy"), known.get("rankme")
    out = []
    if accuracy is not None:
        out.append(_change("no worse than the baseline", accuracy, "change", 0.01))
    if not isinstance(_accuracies(report), str):
        smallest = int(min(n for n in report.classes.columns["n"].tolist() if n > 0))
        if smallest >= 2 * CHANGED:  # of fewer the rule would allow more than half to be lost
            loss = max(0.05, math.ceil(100 * CHANGED / smallest) / 100)
            out.append(CLASSES.format(n=smallest, loss=loss))
    if rank is not None:
        out.append(_change("no narrower than the baseline", rank, "relative_change", 0.1))
    if not out:
        first = next((spec for spec in known.values() if spec.direction is not Direction.NEITHER), None)
        out = [] if first is None else [_change("no worse than the baseline", first, "relative_change", 0.1)]
    return [CHANGES, *out] if out else []


def _change(name: str, spec: MetricSpec, key: str, loss: float) -> str:
    higher = spec.direction is Direction.HIGHER
    limit = f"{key}_at_least = -{loss:g}" if higher else f"{key}_at_most = {loss:g}"
    return (
        f"#[[rule]]\n#name = {json.dumps(name)}\n#metric = {json.dumps(spec.name)}\n"
        f"#{limit}  # 0 fails on any loss that is told from noise; beyond 0 so much may be lost\n"
    )


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
    found = _accuracies(report)
    if isinstance(found, str):
        return f"# No rule for every class: {_plain(found)}.\n"
    end, name, worst = found
    return f"# The class that is worst off is {_quoted(name)}.\n" + _rule(
        worst,
        ['class = "*"  # each of them', 'column = "accuracy"'],
        "at_least",
        _outward(end, worst.value, True),
        "no class worse than",
    )


def _accuracies(report: Report) -> tuple[float, str, Quantity] | str:
    """The least that any class's accuracy may be, that class, and its accuracy; or why this is not known."""
    names = class_names(report)
    if not names:
        return "the data set has no labels"
    known = []
    for name in names:
        found = find(report, ClassValue(name, "accuracy"))
        if isinstance(found, Absent):
            return found.reason
        known.append((_end(found, True), name, found))
    end, name, worst = min(known, key=lambda one: one[:2])
    if not math.isfinite(end) or end <= 0:
        return f"the samples of class {name} are too few to tell its accuracy"
    return end, name, worst


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
